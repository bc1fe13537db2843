"""What a broker or a Redis loses is found and made good, or said plainly."""

from __future__ import annotations

import shutil
import time

import pytest
from celery import chain, group

from coordinator.states import StepState
from tests.faults.figures import BACKLOG, LOSS, tell
from tests.flows import add, double, mark, slowly, total, wait_for_file
from tests.waiting import wait_until

#: Promised from the loss to the redrive, with an idle queue.
REDRIVEN_S = 15


def redriven(coordinator, job):
    return [event for event in coordinator.events(job) if event.event == "redriven"]


def test_job_completes_within_the_promise_when_its_queue_is_purged(coordinator, start_worker, services):
    """A purge eats ten messages of a header; with the shipped settings they come back in time."""
    for name in ("COORDINATOR_LEASE_S", "COORDINATOR_TICK_S", "COORDINATOR_QUIET_S"):
        del services.env[name]
    services.env["COORDINATOR_JOBS"] = "tests.flows"
    job = coordinator.launch(chain(group(add.s(n, n) for n in range(10)), total.s()))
    with coordinator.app.connection_for_write() as connection:
        assert (
            coordinator.app.amqp.queues[coordinator.settings.queue](connection.default_channel).purge() == 10
        )
    purged_at = time.monotonic()
    start_worker()

    assert coordinator.wait(job, timeout_s=REDRIVEN_S + 5) == 90

    assert time.monotonic() - purged_at < REDRIVEN_S
    assert redriven(coordinator, job)


def test_job_completes_when_an_alien_consumer_eats_a_message(coordinator, start_worker):
    """Somebody else took the message and acknowledged it."""
    job = coordinator.launch(chain(add.s(1, 2), double.s()))
    with coordinator.app.connection_for_write() as connection:
        queue = coordinator.app.amqp.queues[coordinator.settings.queue](connection.default_channel)
        message = wait_until(queue.get, what="the message")
        message.ack()
    start_worker()

    assert coordinator.wait(job, timeout_s=20) == 6
    assert redriven(coordinator, job)


@pytest.mark.brokers("rabbitmq")
def test_job_completes_when_rabbitmq_comes_back_empty(
    coordinator, start_worker, services, rabbitmq, tmp_path
):
    """The broker lost its data folder in mid-job: queues, messages and all."""
    start_worker()
    gate = tmp_path / "gate"
    job = coordinator.launch(
        chain(group(wait_for_file.s(str(gate)), add.s(1, 1), add.s(2, 2)), mark.si(7, str(tmp_path / "runs")))
    )
    wait_until(lambda: [s for s in coordinator.steps(job) if s.state == StepState.RUNNING], what="running")
    queued = coordinator.launch(group(add.s(n, n) for n in range(20)))

    rabbitmq.restart(empty=True)
    gate.write_text("x")

    assert coordinator.wait(queued, timeout_s=60) == [2 * n for n in range(20)]
    assert coordinator.wait(job, timeout_s=60) == 7
    assert (tmp_path / "runs").read_text().split() == ["7"]


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
    wait_until(lambda: [s for s in coordinator.steps(job) if s.state == StepState.RUNNING], what="running")
    kept = tmp_path / "kept"
    shutil.copytree(redis_server.data, kept)
    first.write_text("x")
    wait_until(lambda: coordinator.status(job).steps_done == 2, what="two steps recorded")

    redis_server.kill()
    shutil.rmtree(redis_server.data)
    shutil.copytree(kept, redis_server.data)
    redis_server.start()
    second.write_text("x")

    assert coordinator.wait(job, timeout_s=60) == 2
    assert runs.read_text().split()[-1] == "2"


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

    assert not [event for job in [*launched, waiting] for event in redriven(coordinator, job)]
    assert {step.attempts for job in launched for step in coordinator.steps(job)} == {1}
    tell(
        BACKLOG,
        f"{jobs * 500:,} steps on {services.kind}: the reconciler sent 0 messages, each step ran once",
    )
