"""What a broker or a Redis loses is found and made good, or said plainly."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from celery import chain, group

from coordinator.errors import JobNotFound
from tests.facade import queue_of, running
from tests.faults.figures import BACKLOG, LOSS, tell
from tests.flows import add, double, mark, slowly, total, wait_for_file
from tests.waiting import wait_until, write_whole

#: Promised from the loss to the redrive, with an idle queue.
REDRIVEN_S = 15


@pytest.fixture
def as_shipped(services):
    """The settings that users have, not the short times of other tests."""
    for name in ("COORDINATOR_LEASE_S", "COORDINATOR_TICK_S", "COORDINATOR_QUIET_S"):
        del services.env[name]
    services.env["COORDINATOR_JOBS"] = "tests.flows"


def redriven(coordinator, job):
    return [event for event in coordinator.events(job) if event.event == "redriven"]


def check_in_time(coordinator, services, job, lost_ms: int, messages: int, what: str) -> None:
    """Fail unless as many messages as were lost were sent again, in time; tell the seconds."""
    events = redriven(coordinator, job)
    assert sum(int(event.detail.split()[0].replace(",", "")) for event in events) == messages, events
    took_s = (events[-1].at_ms - lost_ms) / 1000
    assert 0 < took_s <= REDRIVEN_S, f"{what}: sent again after {took_s:.1f} s"
    tell(LOSS, f"{what}, on {services.kind}: sent again after {took_s:.1f} s (promised: {REDRIVEN_S} s)")


@dataclass(frozen=True)
class Busy:
    """A worker whose two children wait for a gate: until it opens, other messages stay in the queue."""

    gate: Path
    runs: Path
    jobs: list[str]


@pytest.fixture
def busy(as_shipped, coordinator, start_worker, tmp_path) -> Busy:
    gate, lines = tmp_path / "gate", tmp_path / "runs"
    start_worker(concurrency=2)
    canvas = chain(wait_for_file.s(str(gate)), mark.s(str(lines)))
    jobs = [coordinator.launch(canvas) for _ in range(2)]
    wait_until(lambda: all(running(coordinator, job) for job in jobs), what="both children busy")
    return Busy(gate, lines, jobs)


def test_job_completes_within_the_promise_when_its_queue_is_purged(busy, coordinator, services):
    """A purge eats ten messages of a header; with the shipped settings they come back in time."""
    job = coordinator.launch(chain(group(add.s(n, n) for n in range(10)), total.s()))
    with queue_of(coordinator) as queue:
        assert queue.purge() == 10
    lost_ms = coordinator.state_manager.now_ms()
    write_whole(busy.gate, "x")

    assert coordinator.wait(job, timeout_s=2 * REDRIVEN_S) == 90

    check_in_time(coordinator, services, job, lost_ms, 10, "a purged queue")


def test_job_completes_within_the_promise_when_an_alien_consumer_eats_a_message(busy, coordinator, services):
    """Somebody else took the message and acknowledged it."""
    job = coordinator.launch(chain(add.s(1, 2), double.s()))
    with queue_of(coordinator) as queue:
        message = wait_until(queue.get, what="the message")
        message.ack()
    lost_ms = coordinator.state_manager.now_ms()
    write_whole(busy.gate, "x")

    assert coordinator.wait(job, timeout_s=2 * REDRIVEN_S) == 6

    check_in_time(coordinator, services, job, lost_ms, 1, "a message that an alien consumer ate")


@pytest.mark.brokers("rabbitmq")
def test_job_completes_within_the_promise_when_rabbitmq_comes_back_empty(
    busy, coordinator, services, rabbitmq
):
    """The broker lost its data folder in mid-job: queues, messages and all; steps that ran go on."""
    queued = coordinator.launch(group(add.s(n, n) for n in range(20)))

    rabbitmq.kill()
    write_whole(busy.gate, "x")
    wait_until(
        lambda: all(coordinator.status(job).steps_done == 1 for job in busy.jobs), what="their records"
    )
    rabbitmq.restart(empty=True)
    back_ms = coordinator.state_manager.now_ms()

    assert coordinator.wait(queued, timeout_s=60) == [2 * n for n in range(20)]
    assert [coordinator.wait(job, timeout_s=60) for job in busy.jobs] == ["x", "x"]
    assert busy.runs.read_text().split() == ["x", "x"]
    check_in_time(coordinator, services, queued, back_ms, 20, "a RabbitMQ that came back empty")


def test_job_completes_when_redis_lost_its_last_second(coordinator, start_worker, redis_server, tmp_path):
    """Redis comes back as it was a moment ago; whatever had been recorded since is done again."""
    start_worker()
    first, second = tmp_path / "first", tmp_path / "second"
    runs = tmp_path / "runs"
    canvas = chain(
        wait_for_file.s(str(first)),
        mark.si(1, str(runs)),
        wait_for_file.si(str(second)),
        mark.si(2, str(runs)),
    )
    job = coordinator.launch(canvas)
    wait_until(lambda: running(coordinator, job), what="running")
    kept = tmp_path / "kept"
    shutil.copytree(redis_server.data, kept)
    write_whole(first, "x")
    wait_until(
        lambda: coordinator.status(job).steps_done == 2 and running(coordinator, job),
        what="two steps recorded, and the third begun",
    )

    redis_server.kill()
    shutil.rmtree(redis_server.data)
    shutil.copytree(kept, redis_server.data)
    redis_server.start()
    write_whole(second, "x")

    assert coordinator.wait(job, timeout_s=60) == 2
    assert runs.read_text().split() == ["1", "1", "2"], "what was recorded in the lost second is done again"


def test_redis_that_came_back_empty_is_said_plainly(coordinator, start_worker, redis_server):
    """Nothing is guessed: an alert, a finding of doctor, and a word in the error of ``status``."""
    start_worker()
    job = coordinator.launch(add.s(1, 1))
    assert coordinator.wait(job, timeout_s=20) == 2
    wait_until(lambda: coordinator.state_manager.instance(), what="a worker to have marked this Redis")

    redis_server.restart(empty=True)

    alerts = wait_until(
        lambda: [alert for alert in coordinator.alerts() if alert["alert"] == "redis-empty"],
        timeout_s=30,
        what="the alert",
    )
    assert "came back empty" in alerts[0]["message"]
    with pytest.raises(JobNotFound, match="came back empty"):
        coordinator.status(job)
    finding = next(f for f in coordinator.findings() if f.name == "memory of jobs")
    assert finding.level == "error" and "empty" in finding.found
    assert coordinator.wait(coordinator.launch(add.s(2, 2)), timeout_s=20) == 4


@pytest.mark.parametrize(
    "jobs, pause_s", [(4, 0.0), pytest.param(40, 0.005, marks=pytest.mark.long)], ids=["2,000", "20,000 slow"]
)
def test_reconciler_sends_nothing_when_the_queue_is_long(jobs, pause_s, coordinator, start_worker, services):
    """Slow is not lost: a long backlog, looked at again and again, is left alone, and each step runs once."""
    services.env["COORDINATOR_JOBS"] = "tests.flows"
    services.env["COORDINATOR_QUIET_S"] = "0.5"
    launched = [coordinator.launch(group(slowly.s(n, pause_s) for n in range(500))) for _ in range(jobs)]
    waiting = coordinator.launch(add.s(1, 1))
    start_worker(concurrency=2)

    for job in [*launched, waiting]:
        coordinator.wait(job, timeout_s=240)

    wait_until(  # it stands behind the last step
        lambda: coordinator.state_manager.probes_returned([coordinator.settings.queue])[0],
        what="the probe of a job that was suspected",
    )
    assert not [event for job in [*launched, waiting] for event in redriven(coordinator, job)]
    assert {step.attempts for job in launched for step in coordinator.steps(job)} == {1}
    tell(
        BACKLOG,
        f"{jobs * 500:,} steps on {services.kind}: the reconciler sent 0 messages, each step ran once",
    )
