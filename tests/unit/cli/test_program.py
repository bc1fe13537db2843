"""The program: its help, its exit codes, its errors."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest

from coordinator import errors
from coordinator.cli.exits import exit_code
from coordinator.cli.program import COMMANDS, main
from tests.unit.cli.conftest import JOB, make_job, raising

HEAVY = ("celery", "kombu", "polars", "pydantic", "redis", "rich", "fsspec", "coordinator.app")
NAMES = [name for section in COMMANDS.values() for name in section]


@pytest.mark.parametrize(
    "words", [["--help"], ["submit", "--help"], ["list", "--help"], ["--version"], ["statis"]]
)
def test_help_imports_nothing_heavy_when_asked(words):
    """The answer to --help and to a typo comes without loading the engine."""
    code = f"""
import sys
from coordinator.cli import main
try:
    main({words!r})
finally:
    print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", NAMES)
def test_command_explains_itself_when_asked(call, name):
    """Every command in the table exists, has help, and takes -o, -v and --debug."""
    result = call(name, "--help")
    assert result.exit_code == 0
    assert "--output" in result.stdout and "--debug" in result.stdout


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["statsu"], "Did you mean 'status'?"),
        (["list", "--stat", "failed"], "--state"),
        (["list", "--state", "procesing"], "Did you mean 'processing'?"),
    ],
    ids=["command", "option", "state"],
)
def test_word_is_corrected_when_mistyped(call, words, answer):
    """What is mistyped is answered with what was meant."""
    result = call(*words)
    assert result.exit_code == 2
    assert answer in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.JobFailed("x"), 1),
        (errors.SettingsError("x"), 2),
        (errors.BuilderFailed("x"), 2),
        (errors.UnknownKind("x"), 2),
        (click.UsageError("x"), 2),
        (errors.InvalidParams("x"), 3),
        (errors.UnsupportedCanvas("x"), 3),
        (errors.JobRejected("x"), 3),
        (errors.IllegalTransition("x"), 3),
        (errors.AmbiguousId("x"), 4),
        (errors.JobNotFound("x"), 4),
        (errors.BrokerUnreachable("x"), 5),
        (errors.StateUnreachable("x"), 5),
        (errors.JobCancelled("x"), 6),
        (ZeroDivisionError("x"), 70),
        (errors.WaitTimeout("x"), 124),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_code_is_the_documented_one(error, code):
    """Scripts may rely on one code for each sort of end."""
    assert exit_code(error) == code


@pytest.mark.parametrize(
    "error", [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
)
def test_exit_code_is_not_that_of_a_defect_when_the_error_is_ours(error):
    """No error that Batuta raises on purpose is taken for a defect."""
    assert exit_code(error()) != 70


def test_error_is_plain_lines_when_redis_is_unreachable(facade, call):
    """No traceback, and what to do next."""
    facade.fault = errors.StateUnreachable("Redis at redis://127.0.0.1:1 could not be reached")
    result = call("list")
    assert result.exit_code == 5
    assert result.stdout == ""
    assert result.stderr.splitlines()[0].startswith("error: Redis at")
    assert "doctor" in result.stderr and "Traceback" not in result.stderr


def test_error_shows_its_traceback_when_debug(facade, call):
    """--debug, before or after the command, shows where."""
    facade.fault = ZeroDivisionError("oh")
    assert "Traceback" in call("--debug", "list").stderr
    assert "Traceback" in call("list", "--debug").stderr
    assert "defect" in call("list").stderr


@pytest.mark.parametrize("words", [["list", "-o", "json"], ["-o", "json", "list"], ["list", "--output=json"]])
def test_error_is_an_object_when_json(facade, call, words):
    """With -o json the error is JSON on stdout and nothing is on stderr."""
    facade.fault = errors.StateUnreachable("gone")
    result = call(*words)
    assert json.loads(result.stdout) == {"error": {"type": "StateUnreachable", "message": "gone", "code": 5}}
    assert (result.exit_code, result.stderr) == (5, "")


def test_usage_error_is_an_object_when_json(call):
    """Even what can't be parsed is answered in JSON."""
    result = call("list", "--bogus", "-o", "json")
    assert json.loads(result.stdout)["error"]["code"] == 2


def test_job_is_named_in_the_advice_when_it_failed(facade, call):
    """The commands to type next carry the full id, though a prefix was given."""
    facade.found = [make_job()]
    facade.result = raising(errors.JobFailed("step 3 failed"))
    result = call("result", "ord")
    assert result.exit_code == 1
    assert f"retry {JOB}" in result.stderr


def test_group_lists_its_commands_in_reading_order():
    """What a newcomer needs first stands first."""
    assert main.list_commands(click.Context(main))[0] == "demo"


def test_setting_is_told_of_once_when_it_is_mistyped(facade, call, monkeypatch):
    """On stderr, so that what a script reads stays as it was."""
    monkeypatch.setenv("COORDINATOR_LEASES", "5")
    result = call("list", "-o", "json")
    assert result.stderr.count("warning: COORDINATOR_LEASES is set, but nothing reads it") == 1
    assert json.loads(result.stdout) == []
