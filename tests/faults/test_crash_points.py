"""A process is killed before or after each of its I/O calls in turn; the job must not notice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from coordinator.draft import ERRBACK
from coordinator.errors import JobFailed, WaitTimeout
from coordinator.states import State, StepState
from tests.faults.conftest import TALLY, new_tally, points_to_try
from tests.faults.crash_points import BOARD_VARIABLE, ROLE_VARIABLE, Board
from tests.faults.shapes import SHAPES, Shape, runs
from tests.waiting import PATIENCE, wait_until

HANG_S = 25 * PATIENCE
#: Every point of this shape is tried in CI too.
WHOLE = "chord in a chain"


@pytest.mark.parametrize("victim", ["child", "worker"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_job_completes_once_when_its_worker_is_killed_at_any_call(
    shape: Shape, victim: str, coordinator, start_worker, services, board_path, tmp_path, request
):
    """For each call: the job ends by itself, rightly, with every step recorded once and nothing left over."""
    board = Board(board_path, create=True)
    env = {BOARD_VARIABLE: str(board_path), ROLE_VARIABLE: victim}
    worker = start_worker(env=env)
    every = request.config.getoption("--every-point") or (shape.name == WHOLE and victim == "child")
    run_job(shape, coordinator, board, tmp_path / "warm", 0, 0)
    clean = run_job(shape, coordinator, board, tmp_path / "clean", 0, 0)
    points = points_to_try(clean.calls, every=every)
    tally = TALLY[shape.name, victim] = new_tally(2 * clean.calls)
    for call, when in points:
        tally["tried"] += 1
        result = run_job(
            shape, coordinator, board, tmp_path / f"{call}-{when}", call, when,
            revive=(lambda: _revive(worker, board)) if victim == "worker" else None,
        )  # fmt: skip
        where = f"{'after' if when else 'before'} call {call} of {clean.calls}"
        tally["hung"] += result.hung
        assert not result.hung, f"hung: killed {where}: {result.report}"
        extra = sum(result.runs.values()) - sum(clean.runs.values())
        tally["again"] += extra > 0
        assert set(result.runs) == set(clean.runs), where
        # A killed child was in one step; a killed worker with two children in two.
        assert extra <= (1 if victim == "child" else 2) * shape.items, (
            f"killed {where}: {result.runs}, without: {clean.runs}"
        )


class Outcome:
    """What came of one job."""

    def __init__(self) -> None:
        self.hung = False
        self.report = ""
        self.calls = 0
        self.runs: Counter[str] = Counter()


def run_job(shape, coordinator, board, path: Path, call: int, when: int, revive=None) -> Outcome:
    """Run one job with a kill at one call, and check all that can be checked of any job."""
    outcome = Outcome()
    if revive is not None:
        revive()  # the last kill may have come after its job had ended
    board.arm(call, when)
    job = coordinator.launch(shape.build(str(path)))
    if revive is not None:
        wait_until(lambda: board.kills or coordinator.status(job).state.is_terminal, timeout_s=HANG_S)
        revive()
    try:
        value = coordinator.wait(job, timeout_s=HANG_S)
        assert value == shape.value
    except JobFailed as failed:
        assert shape.value is None, failed
    except WaitTimeout:
        outcome.hung = True
        outcome.report = repr((coordinator.steps(job), coordinator.events(job)))
        return outcome
    _settle(coordinator, job, revive)
    outcome.calls = board.calls
    outcome.runs = Counter(runs(path))
    status = coordinator.status(job)
    if shape.value is not None:
        assert status.steps_done == status.steps_total
    alerts = [alert for alert in coordinator.alerts() if alert["job"] == job]
    assert len(alerts) == (1 if shape.value is None else 0)
    return outcome


def _settle(coordinator, job: str, revive=None) -> None:
    """Wait until nothing but the finished job is left in Redis."""
    state = coordinator.state_manager

    def left() -> list[str]:
        if revive is not None:
            revive()  # the kill may come when the job has ended, in its error callback
        shard = state.keys.shard_of(job)
        found = []
        for index in ("active", "leases", "timers", "outbox"):
            members = state.client.zrange(state.keys.index(shard, index), 0, -1)
            found += [f"{index}:{m.decode()}" for m in members if m.decode().split("|")[0] == job]
        if coordinator.status(job).state == State.FAILED:
            callbacks = [step for step in coordinator.steps(job) if step.task == ERRBACK]
            found += [step.id for step in callbacks if step.state != StepState.SUCCEEDED]
        return found

    wait_until(lambda: not left(), timeout_s=10, what="nothing left over of the job")


def _revive(worker, board) -> None:
    """Start a worker again that was killed, also by a kill that came after the last job had ended."""
    if board.kills:
        wait_until(lambda: worker.process.popen.poll() is not None, what="the killed worker to be gone")
        worker.kill()
        worker.start()
        board.arm(0, 0)
