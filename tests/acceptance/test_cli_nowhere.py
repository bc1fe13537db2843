"""The command line where the servers that are configured don't answer."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.program import Program

RAISING = """
from pydantic import BaseModel
from coordinator import job

class NoParams(BaseModel):
    pass

@job("raises", params=NoParams)
def raises(params):
    raise KeyError("oops")
"""


def nowhere(scheme: str) -> dict[str, str]:
    """Return addresses where nobody listens."""
    return {"BROKER_URL": f"{scheme}://me:secret@127.0.0.1:1/", "REDIS_URL": "redis://:secret@127.0.0.1:1/0"}


@pytest.fixture
def program(tmp_path) -> Program:
    """The program where nobody listens."""
    return Program.at(tmp_path, nowhere("amqp"))


@pytest.mark.parametrize(
    "words",
    [
        ["submit", "sum", "-p", "numbers=[1]"],
        ["list"],
        ["status", "sum"],
        ["alerts"],
        ["cancel", "--state", "processing", "-y"],
    ],
    ids=lambda words: words[0],
)
def test_command_exits_with_5_when_nobody_listens(program, words):
    """In plain words, with what to do and without the password."""
    done = program(*words)
    assert (done.returncode, done.stdout) == (5, ""), done.stderr
    assert "doctor" in done.stderr
    assert "Traceback" not in done.stderr and "secret" not in done.stderr


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_doctor_finds_what_is_missing_when_nobody_listens(program, scheme):
    """Doctor itself never fails: it says what is wrong and exits with 1."""
    done = program("doctor", "-o", "json", **nowhere(scheme))
    assert done.returncode == 1, done.stdout
    assert "secret" not in done.stdout
    levels = {finding["name"]: finding["level"] for finding in json.loads(done.stdout)}
    assert levels["redis"] == levels["broker"] == "error"


@pytest.mark.parametrize("words", ["manage.py status ", "manage.py status su"])
def test_completion_is_silent_when_nobody_listens(program, words):
    """The Tab key writes no error into the prompt."""
    done = program(COMP_WORDS=words, COMP_CWORD="2", _MANAGE_PY_COMPLETE="bash_complete")
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_kinds_need_no_server(program):
    """What one can run is known before anything runs."""
    assert "numbers" in program("kinds", "sum").stdout


def test_command_exits_with_2_when_settings_are_wrong(program):
    """All faults of the environment are told at once."""
    done = program("list", BROKER_URL="http://x", COORDINATOR_LEASE_S="soon")
    assert done.returncode == 2
    assert "BROKER_URL" in done.stderr and "COORDINATOR_LEASE_S" in done.stderr


def test_command_exits_with_2_when_the_jobs_module_is_missing(program):
    """The variable to correct is named."""
    done = program("kinds", COORDINATOR_JOBS="no_such_module")
    assert done.returncode == 2
    assert "COORDINATOR_JOBS" in done.stderr


@pytest.mark.parametrize("params", ["BaseModel", "dict", "{}"])
def test_command_exits_with_2_when_a_kind_has_no_model(program, params):
    """What was expected is said where the module is read, not when the first job is submitted."""
    (program.folder / "modelless.py").write_text(RAISING.replace("params=NoParams", f"params={params}"))
    done = program("kinds", COORDINATOR_JOBS="modelless")
    assert done.returncode == 2 and "'raises': expected a subclass of pydantic's" in done.stderr


@pytest.mark.parametrize("text", ["def broken(:", "raise ValueError('no config')"])
def test_command_exits_with_2_when_a_jobs_module_is_broken(program, text):
    """It is the author's module, not a defect of Batuta; --debug shows where."""
    (program.folder / "broken.py").write_text(text)
    done = program("kinds", COORDINATOR_JOBS="broken")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "broken raised" in done.stderr and "--debug" in done.stderr
    assert "broken.py" in program("--debug", "kinds", COORDINATOR_JOBS="broken").stderr


def test_command_exits_with_2_when_the_builder_raises(program):
    """The author's builder, its error and the way to its traceback."""
    (program.folder / "raising.py").write_text(RAISING)
    done = program("graph", "raises", COORDINATOR_JOBS="raising")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "builder of raises, got KeyError: 'oops'" in done.stderr and "--debug" in done.stderr


def test_worker_ends_with_5_when_rabbitmq_refuses_its_login(program, rabbitmq):
    """One that RabbitMQ refuses says so once, and does not try for ever."""
    url = rabbitmq.url().replace(rabbitmq.password, "wrong")
    done = program("worker", BROKER_URL=url)
    assert done.returncode == 5 and "Traceback" not in done.stderr
    assert "refuses the login" in done.stderr and "wrong" not in done.stderr
