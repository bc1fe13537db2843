"""What waits in Redis, for a countdown or to be tried again, against a pause and a retry of its job."""

from __future__ import annotations

import pytest
from celery import group

from coordinator.states import State
from tests.flows import add, flaky
from tests.integration.by_hand import JOB
from tests.waiting import wait_until


@pytest.mark.parametrize("waits_for", ["a countdown", "another try"])
def test_step_starts_at_once_when_its_time_came_while_the_job_was_paused(
    waits_for, coordinator, start_worker, tmp_path
):
    """It has waited; the job that goes on does not make it wait as long again."""
    start_worker()
    first = add.s(1, 1).set(countdown=1) if waits_for == "a countdown" else flaky.s(str(tmp_path / "x"), 1, 1)
    job = coordinator.launch(first)
    state = coordinator.state_manager
    timers, outbox = state.keys.named(job, "timers outbox")
    wait_until(lambda: state.waiting(job, ["0"]), what="the timer")
    coordinator.pause(job)
    wait_until(lambda: state.client.zcard(timers) == state.client.zcard(outbox) == 0, what="it to be due")

    coordinator.resume(job)

    assert state.waiting(job, ["0"]) == set()
    assert coordinator.wait(job, timeout_s=20) == 2


@pytest.mark.parametrize("from_step", [None, "1"], ids=["retry", "retry from"])
def test_step_starts_at_once_when_it_waited_to_be_tried_again_and_its_job_is_retried(from_step, hand):
    """Every step starts over; its message was dropped, sent again and dropped, and nobody said why."""
    job = hand(group(add.s(1, 1), add.s(2, 2)))
    number = job.begin("0")
    job.state.defer(JOB, "0", number, 60_000, "retry in 60 s")
    assert job.begin("0") == "waiting"
    job.break_at("1")

    if from_step is None:
        job.state.retry(JOB)
    else:
        job.state.retry_from(JOB, from_step)

    assert job.state.waiting(JOB, ["0"]) == set()
    assert job.begin("0") == number + 1


@pytest.mark.parametrize("from_step", [None, "0"], ids=["retry", "retry from"])
def test_retried_job_goes_on_when_its_deadline_had_come_and_the_reconciler_was_killed(from_step, hand):
    """A retried job has no deadline; what was left of the one before failed it."""
    job = hand(add.s(1, 1))
    state = job.state
    timers, outbox = state.keys.named(JOB, "timers outbox")
    state.client.zadd(timers, {f"{JOB}|!deadline": 1})
    assert state.due(state.keys.shard_of(JOB)) == [f"{JOB}|!deadline"]
    state.cancel(JOB)

    if from_step is None:
        state.retry(JOB)
    else:
        state.retry_from(JOB, from_step)

    assert state.client.zscore(outbox, f"{JOB}|!deadline") is None
    assert not state.fail_deadline(JOB, "too late"), "by a reconciler that had read it before"
    assert state.state(JOB) == State.PROCESSING


def test_job_fails_once_when_its_deadline_has_come_while_it_is_paused(hand):
    """A pause does not stop that clock."""
    job = hand(add.s(1, 1))
    state = job.state
    state.client.zadd(state.keys.named(JOB, "timers")[0], {f"{JOB}|!deadline": 1})
    state.pause(JOB)
    state.due(state.keys.shard_of(JOB))
    state.resume(JOB)

    assert [state.fail_deadline(JOB, "too late") for _ in range(2)] == [True, False]
    assert state.state(JOB) == State.FAILED
