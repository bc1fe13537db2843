"""All workers are restarted one after the other under load: nothing is lost, nothing runs twice."""

from __future__ import annotations

from collections import Counter

import pytest
from celery import chain, group

from tests.faults.shapes import runs
from tests.flows import mark, total

JOBS = 60
PARTS = 5


@pytest.mark.brokers("rabbitmq")
def test_nothing_is_lost_or_repeated_in_a_rolling_restart(coordinator, start_worker, tmp_path):
    """A worker that is told to end finishes its steps and hands the others back."""
    env = {"COORDINATOR_JOBS": "tests.flows"}
    workers = [start_worker(env=env), start_worker(env=env)]
    path = tmp_path / "runs"

    def canvas(number: int):
        return chain(group(mark.si(number * 100 + part, str(path)) for part in range(PARTS)), total.s())

    jobs = [coordinator.launch(canvas(number)) for number in range(JOBS // 3)]
    for turn, worker in enumerate(workers * 2):
        worker.stop()
        per_turn = 2 * JOBS // 3 // 4
        first = JOBS // 3 + turn * per_turn
        jobs += [coordinator.launch(canvas(number)) for number in range(first, first + per_turn)]
        worker.start()

    assert len(jobs) == JOBS
    for number, job in enumerate(jobs):
        assert coordinator.wait(job, timeout_s=60) == sum(number * 100 + part for part in range(PARTS))
    counted = Counter(runs(path))
    assert len(counted) == JOBS * PARTS
    assert set(counted.values()) == {1}, "a step ran twice"
    assert not [
        event for job in jobs for event in coordinator.events(job) if event.event in ("redriven", "fenced")
    ]
