"""Steps that end their process each time they run, and what goes on beside them."""

from __future__ import annotations

import signal

import pytest
from celery import chain, group

from coordinator.errors import JobFailed
from coordinator.states import StepState
from tests.faults.host_jobs import die, hoard
from tests.faults.shapes import runs
from tests.flows import add, double, total
from tests.waiting import wait_until

MOST_ATTEMPTS = 3
#: Much more than a worker's child has at its start, much less than the machine.
MEMORY_BYTES = 1 << 30


@pytest.fixture
def start_worker(services, start_worker):
    services.env["COORDINATOR_JOBS"] = "tests.flows,tests.faults.host_jobs"
    services.env["COORDINATOR_MAX_ATTEMPTS"] = str(MOST_ATTEMPTS)
    return start_worker


def launch_others(coordinator) -> list[str]:
    return [
        coordinator.launch(chain(group(add.s(n, k) for k in range(3)), total.s(), double.s()))
        for n in range(20)
    ]


def check_others(coordinator, jobs: list[str]) -> None:
    for n, job in enumerate(jobs):
        assert coordinator.wait(job, timeout_s=30) == 2 * (3 * n + 3)
        assert all(step.attempts == 1 for step in coordinator.steps(job)), "a job beside it was disturbed"


@pytest.mark.parametrize(
    ("concurrency", "number"), [(1, signal.SIGSEGV), (2, signal.SIGSEGV), (2, signal.SIGKILL)]
)
def test_step_is_given_up_and_others_go_on_when_it_ends_its_process_every_time(
    concurrency, number, coordinator, start_worker, tmp_path
):
    """By a segmentation fault, or by SIGKILL, as where the kernel is out of memory.

    So many processes are lost and no more; one dead letter; the jobs beside it end undisturbed.
    """
    worker = start_worker(concurrency=concurrency)
    poison = coordinator.launch(chain(die.s(str(tmp_path / "runs"), number), add.si(1, 1)))
    others = launch_others(coordinator)

    check_others(coordinator, others)
    with pytest.raises(JobFailed, match="ended its worker's process 3 times in a row; it is given up"):
        coordinator.wait(poison, timeout_s=60)

    assert runs(tmp_path / "runs") == ["1", "2", "3"]
    assert [alert["alert"] for alert in coordinator.alerts() if alert["job"] == poison] == ["dead-letter"]
    assert next(iter(coordinator.steps(poison))).state == StepState.FAILED
    assert worker.process.is_alive()
    check_others(coordinator, launch_others(coordinator))


def test_step_fails_and_others_go_on_when_it_uses_up_its_memory(coordinator, start_worker):
    """Python says MemoryError: the step can still record that it failed, and its process works on."""
    worker = start_worker(concurrency=2)
    greedy = [coordinator.launch(chain(hoard.s(MEMORY_BYTES), add.si(1, 1))) for _ in range(2)]
    others = launch_others(coordinator)

    for job in greedy:
        with pytest.raises(JobFailed, match="MemoryError"):
            coordinator.wait(job, timeout_s=60)
    check_others(coordinator, others)
    assert worker.process.is_alive()
    wait_until(lambda: len(worker.children()) == 2, what="both children")
