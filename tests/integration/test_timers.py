"""What waits in Redis, for a countdown or to be tried again, against a pause and a retry of its job."""

from __future__ import annotations

import pytest
from celery import chain, group

from coordinator.states import State
from tests.flows import add, double, flaky
from tests.integration.by_hand import JOB, WORKER, Hand
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


def countdown_ends(job: Hand, key: str) -> None:
    """Let a step's time come, and send what is due."""
    job.state.client.zadd(job.state.keys.named(JOB, "timers")[0], {f"{JOB}|{key}": 1}, xx=True)
    for member in job.state.due(job.state.keys.shard_of(JOB)):
        job.outbox_of(job.state).send_again(JOB, member.partition("|")[2])


@pytest.mark.parametrize("is_due", [False, True], ids=["it waits", "its time has come"])
def test_step_is_not_held_up_when_a_forgotten_one_with_a_countdown_stood_in_its_place(is_due, hand):
    """Its timer was left: for a day a redelivery was dropped, and the message sent again as if lost."""
    job = hand(chain(add.s(1, 1), double.s()))
    job.run("0")
    job.expand("1", chain(add.si(1, 1), add.si(2, 2).set(countdown=86_400)))
    job.run("1/0")
    job.outbox_of(job.state).send(JOB, ["1/0"])
    assert job.state.waiting(JOB, ["1/1"]) == {"1/1"}
    if is_due:
        job.state.client.zadd(job.state.keys.named(JOB, "timers")[0], {f"{JOB}|1/1": 1})
        job.state.due(job.state.keys.shard_of(JOB))
    job.state.cancel(JOB)

    job.state.retry_from(JOB, "0")

    assert job.state.waiting(JOB, ["1/1"]) == set() and "=1/1" not in job.noted
    job.run("0")
    job.expand("1", chain(add.si(1, 1), add.si(2, 2)))
    job.run("1/0")
    number = job.begin("1/1")
    job.state.release(JOB, "1/1", "lost", WORKER)
    assert job.begin("1/1") == number + 1


@pytest.mark.parametrize("stood_still", ["it waited", "it had run"])
def test_step_waits_for_its_whole_countdown_when_it_was_forgotten(stood_still, hand):
    """It is run anew, from what comes before: it kept the time of before, or did not wait at all."""
    job = hand(chain(add.s(1, 1), add.si(2, 2).set(countdown=100), double.s()))
    job.run("0")
    job.outbox_of(job.state).send(JOB, ["0"])
    if stood_still == "it had run":
        countdown_ends(job, "1")
        job.run("1")
    job.state.cancel(JOB)
    job.wire.sent.clear()

    job.state.retry_from(JOB, "0")

    assert job.state.waiting(JOB, ["1"]) == set()
    job.run("0")
    job.outbox_of(job.state).send(JOB, ["0"])
    assert job.wire.sent == [] and job.state.waiting(JOB, ["1"]) == {"1"}
    job.state.pause(JOB)
    countdown_ends(job, "1")  # its message is dropped
    job.state.resume(JOB)
    job.wire.sent.clear()
    job.outbox_of(job.state).send_again(JOB, "*")
    assert job.wire.sent == ["1"], "it has waited"


def test_step_waits_for_its_whole_countdown_when_it_was_forgotten_and_a_message_of_before_had_begun_it(hand):
    """It was given back and none of its code ran, but the step seemed to have waited, and ran at once."""
    job = hand(chain(add.s(1, 1), add.si(2, 2).set(countdown=100)))
    job.run("0")
    job.outbox_of(job.state).send(JOB, ["0"])
    countdown_ends(job, "1")
    job.state.cancel(JOB)
    job.state.retry_from(JOB, "0")
    job.begin("1")  # as the attempt finds it of another epoch, it lets go of it
    job.state.release(JOB, "1", "returned", WORKER)
    job.run("0")
    job.wire.sent.clear()

    job.outbox_of(job.state).send(JOB, ["0"])

    assert job.wire.sent == [] and job.state.waiting(JOB, ["1"]) == {"1"}
