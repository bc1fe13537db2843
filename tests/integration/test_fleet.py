from __future__ import annotations

import signal
from collections.abc import Iterator

import psutil
import pytest
from celery import chain, chord

from coordinator.errors import JobFailed
from tests.facade import running
from tests.flows import add, double, softly_too_long, stubborn, too_long, total, wait_for_file
from tests.servers import Fleet
from tests.waiting import wait_until


@pytest.fixture
def fleet(services, tmp_path) -> Iterator[Fleet]:
    """Two single-slot workers."""
    fleet = Fleet({**services.env, "COORDINATOR_GRACE_S": "0.5"}, home=tmp_path)
    fleet.launch()
    fleet.wait_ready()
    yield fleet
    fleet.process.kill()


@pytest.mark.brokers("rabbitmq")
def test_fleet_runs_jobs_and_replaces_a_worker_that_is_killed(coordinator, fleet, tmp_path):
    """A worker killed in mid-step: another takes its place, and the job completes."""
    gate = tmp_path / "gate"
    job = coordinator.launch(
        chain(wait_for_file.s(str(gate)), chord([add.si(1, 2), add.si(3, 4)], total.s()))
    )
    wait_until(lambda: running(coordinator, job), what="the step to run")
    for worker in fleet.workers():
        worker.kill()
    gate.write_text("x")

    assert coordinator.wait(job, timeout_s=40) == 10
    assert len(fleet.workers()) == 2


@pytest.mark.brokers("rabbitmq")
@pytest.mark.parametrize("task", [too_long, softly_too_long], ids=["hard", "soft"])
def test_fleet_enforces_time_limits(task, coordinator, fleet):
    """The solo pool has none; the fleet's workers have, and say which step it was."""
    job = coordinator.launch(chain(task.s(), double.s()))
    with pytest.raises(JobFailed) as caught:
        coordinator.wait(job, timeout_s=30)

    error = caught.value.facts["error"]
    assert "TimeLimitExceeded" in error["type"]
    assert error["step"] == coordinator.steps(job)[0].id
    assert coordinator.wait(coordinator.launch(add.s(1, 1)), timeout_s=30) == 2


@pytest.mark.brokers("rabbitmq")
def test_fleet_ends_a_step_that_does_not_stop_when_its_job_is_cancelled(coordinator, fleet, tmp_path):
    """After the grace the worker ends, and another takes its place."""
    path = tmp_path / "pid"
    job = coordinator.launch(stubborn.s(str(path)))
    pid = int(wait_until(lambda: path.exists() and path.read_text(), what="the step to run"))

    coordinator.cancel(job)

    wait_until(lambda: not psutil.pid_exists(pid), timeout_s=20, what="its process to be ended")
    assert coordinator.wait(coordinator.launch(add.s(1, 1)), timeout_s=30) == 2


@pytest.mark.brokers("rabbitmq")
def test_fleet_ends_warm_when_told_to(coordinator, fleet, tmp_path):
    """SIGTERM: the running step is finished, then all workers end, and the fleet with 0."""
    gate = tmp_path / "gate"
    job = coordinator.launch(wait_for_file.s(str(gate)))
    wait_until(lambda: running(coordinator, job), what="the step to run")
    alive = fleet.workers()

    fleet.process.signal(signal.SIGTERM)
    gate.write_text("x")

    assert fleet.process.popen.wait(timeout=30) == 0
    assert coordinator.wait(job, timeout_s=5) == "x"
    assert not [worker for worker in alive if worker.is_running()]
