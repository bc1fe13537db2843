"""The command line where nothing is configured: a private server and worker, gone when the command is."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from tests.acceptance.program import NUMBERS, Program
from tests.waiting import wait_until


@pytest.fixture
def program(tmp_path) -> Program:
    """The program where no server is configured."""
    return Program.at(tmp_path, {})


def started_in(home: str) -> list[str]:
    """Return the command lines of processes that use this home."""
    found = []
    for process in psutil.process_iter():
        try:
            if home in (process.environ().get("COORDINATOR_HOME"), *process.cmdline()):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue  # it has just ended, or is somebody else's
    return found


def test_run_needs_nothing_and_leaves_nothing(program):
    """A result from one command; afterwards its job is still known and no process is left."""
    done = program("run", "sum", *NUMBERS)
    assert (done.returncode, done.stdout.strip()) == (0, "12"), done.stderr
    assert started_in(program.env["COORDINATOR_HOME"]) == []
    job = program.json("list")[0]["id"]
    assert program("result", job).stdout.strip() == "12"
    assert started_in(program.env["COORDINATOR_HOME"]) == []


def test_submit_is_kept_until_somebody_watches(program):
    """Without a worker the job waits on disk; watch starts one."""
    job = program.submit()
    assert program.json("status", job)["state"] == "received"
    assert program("watch", job).returncode == 0
    assert program("result", job).stdout.strip() == "12"


def test_run_detaches_and_watch_goes_on_when_interrupted(program, tmp_path):
    """Ctrl-C ends the private worker too, quickly; the job is finished by the next one."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with program.start("run", "sum", *NUMBERS, "-p", f"gate={gate}") as run:
        wait_until(program.is_at_gate, what="the last step at its gate")
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=30)
    assert (run.returncode, out) == (130, "")
    job = err.split()[-1]
    assert f"watch {job}" in err and "Traceback" not in err
    assert started_in(program.env["COORDINATOR_HOME"]) == []
    gate.unlink()
    gate.touch()
    assert program("watch", job).returncode == 0
    assert program("result", job).stdout.strip() == "12"


def test_unknown_job_says_where_it_was_looked_for(program):
    """Whoever stands in the wrong folder sees that."""
    done = program("status", "no-such-job")
    assert done.returncode == 4
    assert "looked in home" in done.stderr


def test_demo_shows_counts_reasons_and_the_report(program, tmp_path):
    """The first command of the README ends with something to open."""
    done = program("demo", COORDINATOR_JOBS="tasks")
    assert done.returncode == 0, done.stderr
    assert "quarantined" in done.stdout and "birdstrikes.csv row" in done.stdout
    report = next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("report"))
    assert (tmp_path / report).stat().st_size > 1000


def test_command_exits_with_2_when_its_home_can_not_be_used(program, tmp_path):
    """A file where the folder should be is told, not traced."""
    (tmp_path / "home").write_text("")
    done = program("list")
    assert done.returncode == 2, done.stderr
    assert "COORDINATOR_HOME" in done.stderr and "Traceback" not in done.stderr
