"""Why a job is not moving: each reason made by bringing it about."""

from __future__ import annotations

import functools
import time

import pytest
from celery import chain, group

from coordinator.errors import JobFailed, JobNotFound
from tests.facade import running
from tests.flows import add, double, fail, flaky, total, wait_for_file
from tests.waiting import wait_until


def why(coordinator, job: str):
    return {reason.code: reason for reason in coordinator.why(job)}


def has_four(coordinator, job: str, code: str) -> bool:
    return [reason.code for reason in coordinator.why(job)] == [code] * 4


def test_why_says_that_no_worker_reads_the_queue(coordinator):
    """With what to do, first of all reasons."""
    first, *_ = coordinator.why(coordinator.launch(add.s(1, 1)))

    assert first.code == "no-consumer" and first.needs_you
    assert f"-Q {coordinator.settings.queue}" in first.advice


def test_why_says_who_holds_the_lease_and_what_the_barrier_waits_for(coordinator, start_worker, tmp_path):
    """A chord of three, one of which is slow, with a deadline."""
    worker = start_worker()
    gate = tmp_path / "gate"
    job = coordinator.launch(
        chain(group(add.s(1, 1), add.s(2, 2), wait_for_file.si(str(gate))), total.si([1])), deadline_s=60
    )
    wait_until(
        lambda: coordinator.status(job).steps_done == 2 and running(coordinator, job), what="two parts"
    )

    found = why(coordinator, job)

    assert worker.nodename in found["leased"].found and "wait_for_file" in found["leased"].step
    assert "2 of 3" in found["barrier"].found
    assert "deadline in" in found["deadline"].found
    gate.touch()
    assert coordinator.wait(job, timeout_s=20) == 1


def test_why_says_that_the_worker_is_gone_when_a_lease_ran_out(coordinator, start_worker, tmp_path):
    """The whole worker was killed, and there is no other."""
    worker = start_worker()
    job = coordinator.launch(wait_for_file.s(str(tmp_path / "gate")))
    wait_until(lambda: running(coordinator, job), what="running")

    worker.kill()

    found = wait_until(lambda: why(coordinator, job).get("lease-over"), what="the lease to run out")
    assert worker.nodename in found.found and "start one" in found.advice


def test_why_says_when_a_retry_is_due(coordinator, start_worker, tmp_path):
    """The waiting is a timer."""
    start_worker()
    job = coordinator.launch(flaky.si(str(tmp_path / "runs"), 1, 60))
    found = wait_until(lambda: why(coordinator, job).get("retry"), what="the retry")
    assert "retries in" in found.found and "flaky" in found.step


def test_why_says_how_long_a_step_is_postponed(coordinator):
    """A countdown waits in Redis."""
    found = why(coordinator, coordinator.launch(add.s(1, 1).set(countdown=60)))
    assert "starts in" in found["postponed"].found


def test_why_counts_the_steps_that_it_does_not_name(coordinator, start_worker, tmp_path):
    """Of many that wait for their timers three are named, as of those that run."""
    postponed = coordinator.launch(group(add.s(n, n).set(countdown=60) for n in range(5)))
    start_worker()
    retrying = coordinator.launch(group(flaky.si(str(tmp_path / f"{n}"), 1, 60) for n in range(5)))

    for job, code in ((postponed, "postponed"), (retrying, "retry")):
        wait_until(functools.partial(has_four, coordinator, job, code), what=f"four times {code}")
        assert coordinator.why(job)[-1].found == "2 more steps waiting for a timer"


def test_why_says_that_no_worker_reconciles_when_only_timers_are_waited_for(coordinator):
    """To wait is no advice where nobody fires the timers."""
    first, *others = coordinator.why(coordinator.launch(add.s(1, 1).set(countdown=60), deadline_s=60))

    assert first.code == "no-reconciler" and first.needs_you and "worker" in first.advice
    assert [reason.code for reason in others] == ["postponed", "deadline"]


def test_why_says_that_no_worker_knows_the_task(coordinator, start_worker):
    """The worker was started with other jobs."""
    start_worker(env={"COORDINATOR_JOBS": "tests.integration.late_clock"})
    job = coordinator.launch(add.s(1, 1))

    found = wait_until(lambda: why(coordinator, job).get("unregistered"), what="the reason")

    assert "tests.flows.add" in found.found and "COORDINATOR_JOBS" in found.advice and found.needs_you


@pytest.mark.brokers("redis")
def test_why_does_not_say_that_nobody_reads_the_queue_when_its_worker_may_be_busy(
    coordinator, start_worker, tmp_path
):
    """A Redis broker knows no consumers, and a worker of one slot answers only between steps."""
    start_worker(pool="solo", concurrency=1)
    gate = tmp_path / "gate"
    slow = coordinator.launch(wait_for_file.s(str(gate)))
    wait_until(lambda: running(coordinator, slow), what="running")

    found = why(coordinator, coordinator.launch(add.s(1, 1)))["no-consumer"]

    assert found.found.startswith("no worker that answers reads") and "busy, wait" in found.advice
    gate.touch()


def test_why_says_how_many_messages_are_before_it(coordinator, start_worker, tmp_path):
    """A worker that is busy, and a queue that is long."""
    start_worker(concurrency=1)
    gate = tmp_path / "gate"
    slow = coordinator.launch(wait_for_file.s(str(gate)))
    wait_until(lambda: running(coordinator, slow), what="running")
    coordinator.launch(group(add.s(n, n) for n in range(20)))
    job = coordinator.launch(add.s(1, 1))

    found = wait_until(lambda: why(coordinator, job).get("behind"), what="the reason")

    assert "messages in queue" in found.found and "more workers" in found.advice
    gate.touch()
    assert coordinator.wait(job, timeout_s=30) == 2


def test_why_says_how_a_job_stands_when_it_was_steered(coordinator, start_worker):
    """Paused, cancelled, failed, succeeded."""
    job = coordinator.launch(add.s(1, 1))
    coordinator.pause(job)
    assert coordinator.why(job)[0].code == "paused" and "resume" in coordinator.why(job)[0].advice
    coordinator.cancel(job, "enough")
    assert [reason.code for reason in coordinator.why(job)] == ["cancelled"]
    start_worker()
    failed = coordinator.launch(fail.si("on purpose"))
    with pytest.raises(JobFailed):
        coordinator.wait(failed, timeout_s=20)
    (reason,) = coordinator.why(failed)
    assert reason.code == "failed" and "on purpose" in reason.found and "retry" in reason.advice
    done = coordinator.launch(double.s(1))
    coordinator.wait(done, timeout_s=20)
    assert [reason.code for reason in coordinator.why(done)] == ["succeeded"]
    with pytest.raises(JobNotFound):
        coordinator.why("no-such-job")


def test_why_has_a_word_when_a_job_is_between_two_steps(coordinator):
    """It is never silent: here the last step is recorded, and the end is not noted yet."""
    job = coordinator.launch(add.s(1, 1))
    state = coordinator.state_manager
    state.client.hset(state.keys.named(job, "r")[0], "0", '[2, 1, 1, 1, "w@h"]')

    assert {"moving", "no-reconciler"} == set(why(coordinator, job))


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        ("^", "the first steps"),
        ("0/^", "the first steps in the place of step 0"),
        ("=0", "step 0"),
        ("0", "what follows 0"),
        ("*", "all that is ready"),
        ("!deadline", "the end of the job, whose deadline has passed"),
    ],
)
def test_why_names_what_was_left_in_the_outbox(coordinator, trigger, words):
    """In words: a step that was taken back is the step itself, not what follows it."""
    job = coordinator.launch(add.s(1, 1))
    coordinator.state_manager.note_outbox(job, trigger)

    assert why(coordinator, job)["outbox"].found.endswith(f": {words}")


@pytest.mark.brokers("rabbitmq")
def test_why_says_what_was_left_in_the_outbox_when_the_broker_went(coordinator, rabbitmq):
    """RabbitMQ is killed: what is recorded waits, and both are said soon."""
    job = coordinator.launch(add.s(1, 1))
    coordinator.state_manager.note_outbox(job, "^")
    rabbitmq.kill()
    try:
        started = time.monotonic()
        found = why(coordinator, job)
        assert time.monotonic() - started < 5
        assert "start it" in found["broker-unreachable"].advice and "outbox since" in found["outbox"].found
    finally:
        rabbitmq.start()


def test_why_says_that_redis_is_away(own_redis, elsewhere):
    """Nothing else can be known then."""
    other = elsewhere(redis_url=own_redis.url(1))
    job = other.launch(add.s(1, 1))
    own_redis.kill()
    (reason,) = other.why(job)
    assert reason.code == "redis-unreachable" and reason.needs_you
