"""Following and steering a job that runs; the broker makes no difference here, so it is Redis."""

from __future__ import annotations

import json
import os
import pty
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.program import JOBS, Program, open_gate
from tests.conftest import make_services
from tests.servers import Worker
from tests.waiting import wait_until


@pytest.fixture
def program(redis_server, tmp_path) -> Program:
    """The program on Redis alone."""
    return Program.at(tmp_path, make_services("redis", redis_server.url(0), redis_server.url(1)).env)


@pytest.fixture
def worker(program, tmp_path) -> Iterator[Worker]:
    """A worker that knows the test's kinds."""
    worker = Worker({**program.env, **JOBS}, home=tmp_path).start()
    yield worker
    worker.kill()


@pytest.fixture
def gate(tmp_path) -> Iterator[Path]:
    """A FIFO that a step waits at."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    yield path
    open_gate(path)


@pytest.fixture
def held(program, worker, gate) -> str:
    """A job whose last step waits at the gate."""
    job = program.submit("-p", f"gate={gate}")
    wait_until(program.is_at_gate, what="the last step at its gate")
    return job


def test_reading_commands_agree(program, worker):
    """One id leads through status, steps, events and result, also by its first characters."""
    job = program.submit()
    assert program("watch", job).returncode == 0
    assert program("result", job[:-2]).stdout.strip() == "12"
    assert program.json("status", job)["state"] == "succeeded"
    assert len(program.json("steps", job)) == 6
    events = [json.loads(line) for line in program("events", job, "-f", "-o", "json").stdout.splitlines()]
    assert events[-1]["event"] == "succeeded"
    assert job in program("list", "--kind", "sum").stdout


def test_watch_exits_with_6_when_cancelled(program, held):
    """Whoever waits for a job that somebody cancels is told so."""
    with program.start("watch", held) as watch:
        assert "processing" in watch.stdout.readline()
        assert program("cancel", held, "--reason", "enough").returncode == 0
        _, err = watch.communicate(timeout=60)
    assert watch.returncode == 6
    assert "enough" in err


@pytest.mark.parametrize("words", [["result"], ["result", "--timeout", "0.5"], ["watch", "--timeout", "0.5"]])
def test_command_exits_with_124_when_the_job_still_runs(program, held, words):
    """The job goes on, and how to follow it is said."""
    done = program(*words, held)
    assert done.returncode == 124
    assert f"watch {held}" in done.stderr


def test_events_follow_all_jobs_as_they_happen(program, worker):
    """Without a job named, one stream tells of every job until Ctrl-C, as JSON Lines."""
    program.submit()  # before: not told
    with program.start("events", "-f", "-v", "--state", "succeeded", "-o", "json") as events:
        wait_until(lambda: "from now on" in events.stderr.readline(), what="it to follow")
        jobs = {program.submit(), program.submit()}
        told = [json.loads(events.stdout.readline()) for _ in jobs]
        events.send_signal(signal.SIGINT)
        assert events.wait(timeout=60) == 130
    assert {event["job"] for event in told} == jobs
    assert {(event["event"], event["kind"]) for event in told} == {("succeeded", "sum")}


def test_watch_detaches_when_interrupted(program, held):
    """Ctrl-C ends the watch and says how to go on; the job is left alone."""
    with program.start("watch", held) as watch:
        assert "processing" in watch.stdout.readline()
        watch.send_signal(signal.SIGINT)
        _, err = watch.communicate(timeout=60)
    assert watch.returncode == 130
    assert f"watch {held}" in err and "Traceback" not in err
    assert program.json("status", held)["state"] == "processing"


def test_watch_is_one_live_line_when_on_a_terminal(program, worker):
    """A person sees one line that is redrawn, which ends with the last state."""
    job = program.submit()
    ours, theirs = pty.openpty()
    with program.start("watch", job, out=theirs) as watch:
        os.close(theirs)
        seen = read_all(ours)
        assert watch.wait(timeout=60) == 0
    assert "6/6 steps" in seen and "succeeded" in seen
    assert seen.count("\n") <= 3


def test_pause_holds_and_resume_goes_on(program, worker, gate):
    """A paused job says so until it is resumed."""
    job = program.submit("-p", f"gate={gate}")
    assert "paused" in program("pause", job).stdout
    assert program.json("status", job)["state"] == "paused"
    assert "processing" in program("resume", job).stdout
    wait_until(program.is_at_gate, what="the last step at its gate")
    open_gate(gate)
    assert program("watch", job).returncode == 0


def test_submit_exits_with_3_when_params_are_wrong(program):
    """Every fault is named, and no worker is needed to find them."""
    done = program("submit", "sum", "-p", "numbers=x")
    assert (done.returncode, done.stdout) == (3, "")
    assert "  - numbers: " in done.stderr


def test_error_is_json_when_asked(program):
    """A script parses errors like answers."""
    done = program("status", "no-such-job", "-o", "json")
    assert (done.returncode, done.stderr) == (4, "")
    assert json.loads(done.stdout)["error"]["type"] == "JobNotFound"


def test_list_ends_quietly_when_the_reader_leaves(program):
    """``list | head`` shows no traceback, and a code that no failed job has."""
    with program.start("list", "-o", "json") as listing:
        listing.stdout.close()
        assert listing.stderr.read() == ""
        assert listing.wait(timeout=60) == 141


def test_completion_offers_kinds_and_jobs(program):
    """The Tab key knows what exists."""
    job = program.submit()
    complete = {"_MANAGE_PY_COMPLETE": "bash_complete", "COMP_CWORD": "2"}
    assert "plain,sum" in program(COMP_WORDS="manage.py run su", **complete).stdout
    assert job in program(COMP_WORDS="manage.py status ", **complete).stdout


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
