"""The command line on RabbitMQ and on Redis: what a job's end looks like from outside."""

from __future__ import annotations

import json
import time

import pytest

from tests.acceptance.program import JOBS, NUMBERS, Program


@pytest.fixture
def program(services, tmp_path) -> Program:
    """The program on this test's servers."""
    return Program.at(tmp_path, services.env)


@pytest.fixture
def worker(start_worker):
    """A worker that knows the test's kinds."""
    return start_worker(env=JOBS)


def test_run_prints_the_result_when_piped(program, worker):
    """Progress is on stderr, the result on stdout as JSON, the exit code 0."""
    done = program("run", "sum", *NUMBERS)
    assert (done.returncode, json.loads(done.stdout)) == (0, 12), done.stderr
    assert "succeeded" in done.stderr


def test_one_key_makes_one_job(program, worker):
    """The second submit prints the first one's id."""
    first, second = (program("submit", "sum", *NUMBERS, "--key", "2026/11") for _ in range(2))
    assert first.stdout == second.stdout
    assert "before" in second.stderr
    assert len(program.json("list")) == 1


def test_run_exits_with_3_when_a_check_refuses(program, worker):
    """The flag and an alert tell why, and no step of the work was sent."""
    done = program("run", "sum", "-p", "numbers=[]")
    assert done.returncode == 3
    assert "at least one number" in done.stderr
    job = program.json("list")[0]["id"]
    flags = program.json("status", job)["flags"]
    assert [flag["valid"] for flag in flags if flag["check"] == "not_empty"] == [False]
    assert any(alert["job"] == job for alert in program.json("alerts"))


def test_run_exits_with_1_when_a_step_fails_and_retry_goes_on(program, worker, tmp_path):
    """The error names the step; once mended, what is recorded is kept."""
    needed = tmp_path / "needed"
    done = program("run", "sum", *NUMBERS, "-p", f"needs={needed}")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"no file {needed}" in done.stderr and "Traceback" not in done.stderr
    job = program.json("list", "--state", "failed")[0]["id"]
    needed.touch()
    assert program("retry", job).returncode == 0
    assert program("watch", job).returncode == 0
    steps = program.json("steps", job)
    assert [step["attempts"] for step in steps if step["task"] == "cli.double"] == [1, 1, 1]


def test_submit_exits_with_5_when_the_broker_is_down(program):
    """Within seconds, in plain words."""
    scheme = program.env["BROKER_URL"].partition(":")[0]
    begun = time.monotonic()
    done = program("submit", "sum", *NUMBERS, BROKER_URL=f"{scheme}://me:secret@127.0.0.1:1/")
    assert done.returncode == 5, done.stderr
    assert time.monotonic() - begun < 30
    assert "Traceback" not in done.stderr and "secret" not in done.stderr
    assert "doctor" in done.stderr


@pytest.mark.parametrize("variable", ["BROKER_URL", "REDIS_URL"])
def test_submit_exits_with_5_when_the_password_is_wrong(program, variable):
    """What the server said is passed on, without the password."""
    access, _, place = program.env[variable].rpartition("@")
    user = access.rpartition(":")[0]
    done = program("submit", "sum", *NUMBERS, **{variable: f"{user}:secret@{place}"})
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr and "secret" not in done.stderr
