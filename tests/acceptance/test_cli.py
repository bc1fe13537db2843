"""The command line as people and scripts use it: real processes on real servers."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
MANAGE = [sys.executable, str(ROOT / "manage.py")]
JOBS = {"COORDINATOR_JOBS": "tests.acceptance.cli_jobs", "PYTHONPATH": str(ROOT)}
NUMBERS = ["-p", "numbers=[1, 2, 3]"]

Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def env(services, tmp_path) -> dict[str, str]:
    """The environment that names this test's servers."""
    return {**os.environ, **services.env, **JOBS, "COORDINATOR_HOME": str(tmp_path / "home")}


@pytest.fixture
def call(env, tmp_path) -> Call:
    """Run one command to its end."""

    def run(*words: str, stdin: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*MANAGE, *words],
            env={**env, **more},
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def worker(start_worker) -> Any:
    """A worker that knows the test's kinds."""
    return start_worker(env=JOBS)


@pytest.fixture
def gate(tmp_path) -> Iterator[Path]:
    """A FIFO that a step waits at; it is opened at the end, so that no step is left waiting."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    yield path
    open_gate(path)


def open_gate(path: Path) -> None:
    """Let the steps that wait at ``path`` go on, if there are any."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        pass  # nobody waits


def start(env: dict[str, str], *words: str, out: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """Start a command that goes on."""
    return subprocess.Popen([*MANAGE, *words], env=env, stdout=out, stderr=subprocess.PIPE, text=True)


def is_running(call: Call, job: str) -> bool:
    """Whether the job's last step waits at its gate."""
    steps = json.loads(call("steps", job, "-o", "json").stdout)
    return any(step["task"] == "cli.total" and step["state"] == "running" for step in steps)


def test_run_prints_the_result_when_piped(call, worker):
    """Progress is on stderr, the result on stdout as JSON, the exit code 0."""
    done = call("run", "sum", *NUMBERS)
    assert (done.returncode, json.loads(done.stdout)) == (0, 12), done.stderr
    assert "succeeded" in done.stderr


def test_submit_and_the_reading_commands_agree(call, worker):
    """One id leads through status, steps, events and result, also by its first characters."""
    job = call("submit", "sum", *NUMBERS).stdout.strip()
    assert call("watch", job).returncode == 0
    assert call("result", job[:-2]).stdout.strip() == "12"
    assert json.loads(call("status", job, "-o", "json").stdout)["state"] == "succeeded"
    assert len(json.loads(call("steps", job, "-o", "json").stdout)) == 6
    events = [json.loads(line) for line in call("events", job, "--follow", "-o", "json").stdout.splitlines()]
    assert events[-1]["event"] == "succeeded"
    assert job in call("list", "--kind", "sum").stdout


def test_one_key_makes_one_job(call, worker):
    """The second submit prints the first one's id."""
    first, second = (call("submit", "sum", *NUMBERS, "--key", "2026/11") for _ in range(2))
    assert first.stdout == second.stdout
    assert "before" in second.stderr
    assert len(json.loads(call("list", "-o", "json").stdout)) == 1


def test_run_exits_with_3_when_a_check_refuses(call, worker):
    """The flag and an alert tell why, and no step of the work was sent."""
    done = call("run", "sum", "-p", "numbers=[]")
    assert done.returncode == 3
    assert "at least one number" in done.stderr
    job = json.loads(call("list", "-o", "json").stdout)[0]["id"]
    flags = json.loads(call("status", job, "-o", "json").stdout)["flags"]
    assert [flag["valid"] for flag in flags if flag["check"] == "not_empty"] == [False]
    assert any(alert["job"] == job for alert in json.loads(call("alerts", "-o", "json").stdout))


def test_submit_exits_with_3_when_params_are_wrong(call):
    """Every fault is named, and no worker is needed to find them."""
    done = call("submit", "sum", "-p", "numbers=x", "-p", "gaet=y")
    assert (done.returncode, done.stdout) == (3, "")
    assert "numbers" in done.stderr and "gaet" in done.stderr


def test_run_exits_with_1_when_a_step_fails_and_retry_goes_on(call, worker, tmp_path):
    """The error names the step; once mended, what is recorded is kept."""
    needed = tmp_path / "needed"
    done = call("run", "sum", *NUMBERS, "-p", f"needs={needed}")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"no file {needed}" in done.stderr and "Traceback" not in done.stderr
    job = json.loads(call("list", "--state", "failed", "-o", "json").stdout)[0]["id"]
    needed.touch()
    assert call("retry", job).returncode == 0
    assert call("watch", job).returncode == 0
    steps = json.loads(call("steps", job, "-o", "json").stdout)
    assert [s["attempts"] for s in steps if s["task"] == "cli.double"] == [1, 1, 1]


def test_watch_exits_with_6_when_cancelled(call, env, worker, gate):
    """Whoever waits for a job that somebody cancels is told so."""
    job = call("submit", "sum", *NUMBERS, "-p", f"gate={gate}").stdout.strip()
    with start(env, "watch", job) as watch:
        wait_until(lambda: is_running(call, job), what="the last step at its gate")
        assert call("cancel", job, "--reason", "enough").returncode == 0
        _, err = watch.communicate(timeout=60)
    assert watch.returncode == 6
    assert "enough" in err


def test_result_exits_with_124_when_it_takes_too_long(call, worker, gate):
    """The job goes on."""
    job = call("submit", "sum", *NUMBERS, "-p", f"gate={gate}").stdout.strip()
    assert call("result", job, "--timeout", "0.5").returncode == 124
    assert call("result", job).returncode == 124
    assert call("watch", job, "--timeout", "0.5").returncode == 124


def test_watch_detaches_when_interrupted(call, env, worker, gate):
    """Ctrl-C ends the watch and says how to go on; the job is left alone."""
    job = call("submit", "sum", *NUMBERS, "-p", f"gate={gate}").stdout.strip()
    wait_until(lambda: is_running(call, job), what="the last step at its gate")
    with start(env, "watch", job) as watch:
        assert watch.stdout is not None
        assert "processing" in watch.stdout.readline()
        watch.send_signal(signal.SIGINT)
        _, err = watch.communicate(timeout=60)
    assert watch.returncode == 130
    assert f"watch {job}" in err and "Traceback" not in err
    assert json.loads(call("status", job, "-o", "json").stdout)["state"] == "processing"


def test_watch_is_one_live_line_when_on_a_terminal(env, call, worker):
    """A person sees one line that is redrawn, which ends with the last state."""
    job = call("submit", "sum", *NUMBERS).stdout.strip()
    ours, theirs = pty.openpty()
    with start(env, "watch", job, out=theirs) as watch:
        os.close(theirs)
        seen = read_all(ours)
        assert watch.wait(timeout=60) == 0
    assert "6/6 steps" in seen and "succeeded" in seen
    assert seen.count("\n") <= 3


def test_pause_holds_and_resume_goes_on(call, worker, gate):
    """A paused job starts nothing new until it is resumed."""
    job = call("submit", "sum", *NUMBERS, "-p", f"gate={gate}").stdout.strip()
    assert "paused" in call("pause", job).stdout
    assert json.loads(call("status", job, "-o", "json").stdout)["state"] == "paused"
    assert "processing" in call("resume", job).stdout
    wait_until(lambda: is_running(call, job), what="the last step at its gate")
    wait_until(lambda: open_gate(gate) or call("result", job).returncode == 0, what="the result")


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("BROKER_URL", ["submit", "sum", *NUMBERS]),
        ("REDIS_URL", ["submit", "sum", *NUMBERS]),
        ("REDIS_URL", ["list"]),
        ("REDIS_URL", ["status", "sum"]),
        ("REDIS_URL", ["alerts"]),
        ("REDIS_URL", ["cancel", "--state", "processing", "-y"]),
    ],
)
def test_command_exits_with_5_when_nobody_listens(call, env, variable, words):
    """Within seconds, in plain words."""
    scheme = env[variable].partition(":")[0]
    begun = time.monotonic()
    done = call(*words, **{variable: f"{scheme}://me:secret@127.0.0.1:1/"})
    assert done.returncode == 5, done.stderr
    assert time.monotonic() - begun < 30
    assert "Traceback" not in done.stderr and "secret" not in done.stderr
    assert "doctor" in done.stderr


@pytest.mark.parametrize("variable", ["BROKER_URL", "REDIS_URL"])
def test_submit_exits_with_5_when_the_password_is_wrong(call, env, variable):
    """What the server said is passed on, without the password."""
    scheme, _, place = env[variable].rpartition("@")
    user = scheme.partition("://")[2].partition(":")[0]
    done = call(
        "submit", "sum", *NUMBERS, **{variable: f"{scheme.partition(':')[0]}://{user}:secret@{place}"}
    )
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr and "secret" not in done.stderr


def test_doctor_finds_what_is_missing_when_nobody_listens(call, env):
    """Doctor itself never fails: it says what is wrong and exits with 1."""
    nowhere = env["BROKER_URL"].partition(":")[0] + "://127.0.0.1:1/"
    done = call("doctor", "-o", "json", BROKER_URL=nowhere, REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 1, done.stdout
    levels = {finding["name"]: finding["level"] for finding in json.loads(done.stdout)}
    assert levels["redis"] == levels["broker"] == "error"


def test_error_is_json_when_asked(call):
    """A script parses errors like answers."""
    done = call("status", "no-such-job", "-o", "json")
    assert (done.returncode, done.stderr) == (4, "")
    assert json.loads(done.stdout)["error"]["type"] == "JobNotFound"


def test_list_ends_quietly_when_the_reader_leaves(env, call):
    """``list | head`` shows no traceback."""
    with start(env, "list", "-o", "json") as listing:
        assert listing.stdout is not None and listing.stderr is not None
        listing.stdout.close()
        assert listing.stderr.read() == ""
        assert listing.wait(timeout=60) == 141


def test_completion_offers_kinds_and_jobs(call):
    """The Tab key knows what exists."""
    job = call("submit", "sum", *NUMBERS).stdout.strip()
    complete = {"_MANAGE_PY_COMPLETE": "bash_complete"}
    assert "plain,sum" in call(COMP_WORDS="manage.py run su", COMP_CWORD="2", **complete).stdout
    assert job in call(COMP_WORDS="manage.py status ", COMP_CWORD="2", **complete).stdout


def test_completion_is_silent_when_nobody_listens(call, env):
    """The Tab key writes no error into the prompt and doesn't make one wait."""
    done = call(
        COMP_WORDS="manage.py status ",
        COMP_CWORD="2",
        _MANAGE_PY_COMPLETE="bash_complete",
        REDIS_URL="redis://127.0.0.1:1/0",
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")


def read_all(terminal: int) -> str:
    """Return what a terminal shows until nobody writes to it."""
    seen = b""
    try:
        while part := os.read(terminal, 4096):
            seen += part
    except OSError:
        pass  # the other end is closed
    finally:
        os.close(terminal)
    return seen.decode()
