"""The process that submits is killed at each of its calls; the job is there and ends, or it is not there."""

from __future__ import annotations

import os
import subprocess
import sys

from celery import chain, group

from coordinator.errors import JobNotFound
from tests.faults.conftest import TALLY, new_tally, points_to_try
from tests.faults.crash_points import BOARD_VARIABLE, ROLE_VARIABLE, Board
from tests.faults.shapes import runs
from tests.flows import mark, total


def test_job_completes_or_is_absent_when_its_submitter_is_killed_at_any_call(
    coordinator, start_worker, services, board_path, tmp_path
):
    """Never in between; and the same key, submitted again, makes one job of it."""
    start_worker(env={"COORDINATOR_JOBS": "tests.flows"})
    board = Board(board_path, create=True)
    env = {**os.environ, **services.env, BOARD_VARIABLE: str(board_path), ROLE_VARIABLE: "submitter"}

    def submit(key: str) -> int:
        command = [sys.executable, "-m", "tests.faults.submit_one", key, str(tmp_path / key)]
        return subprocess.run(command, env=env, capture_output=True, timeout=60, check=False).returncode

    assert submit("warm") == 0  # loads the scripts into Redis
    board.arm(0, 0)
    assert submit("clean") == 0
    calls = board.calls
    assert coordinator.wait("clean", timeout_s=20) == 10
    assert calls >= 4
    tally = TALLY["group of five", "submitter"] = new_tally(2 * calls)
    for call, when in points_to_try(calls, every=True):
        tally["tried"] += 1
        key = f"{'after' if when else 'before'}-{call}"
        board.arm(call, when)
        assert submit(key) == -9, f"the submitter outlived {key}"
        try:
            present = coordinator.status(key) is not None
        except JobNotFound:
            present = False
        if present:
            assert coordinator.wait(key, timeout_s=30) == 10, key
        board.arm(0, 0)
        assert submit(key) == 0
        assert coordinator.wait(key, timeout_s=30) == 10, key
        assert sorted(runs(tmp_path / key)) == ["0", "1", "2", "3", "4"], key


def test_job_completes_when_the_reconciler_is_killed_at_any_call_of_a_repair(
    coordinator, start_worker, services, board_path, tmp_path, request
):
    """A job left in the outbox: its repairer is killed in mid-repair, and the next one ends the repair."""
    board = Board(board_path, create=True)
    env = {BOARD_VARIABLE: str(board_path), ROLE_VARIABLE: "reconciler"}
    every = request.config.getoption("--every-point")

    def left_job(key: str) -> None:
        """Leave a job whose first steps were never sent."""
        coordinator.app.parts.outbox.send, send = (lambda *_: 0), coordinator.app.parts.outbox.send
        try:
            canvas = chain(group(mark.si(n, str(tmp_path / key)) for n in range(3)), total.s())
            coordinator.launch(canvas, key=key)
        finally:
            coordinator.app.parts.outbox.send = send

    board.arm(0, 0)
    left_job("clean")
    worker = start_worker(env=env)
    assert coordinator.wait("clean", timeout_s=20) == 3
    calls = board.calls
    assert calls >= 4
    tally = TALLY["left in the outbox", "reconciler"] = new_tally(2 * calls)
    for call, when in points_to_try(calls, every=every):
        tally["tried"] += 1
        key = f"{'after' if when else 'before'}-{call}"
        board.arm(call, when)
        left_job(key)
        worker.process.popen.wait(timeout=30)
        worker.kill()
        board.arm(0, 0)
        worker.start()
        assert coordinator.wait(key, timeout_s=30) == 3, key
        assert sorted(runs(tmp_path / key)) == ["0", "1", "2"], key
