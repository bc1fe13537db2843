from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from celery import chain, chord, group

from coordinator.errors import JobFailed
from coordinator.states import StepState
from tests.flows import add, double, fail, lines, mark, total, wait_for_file
from tests.integration.racers import (
    JOBS,
    note_error,
    note_failure,
    replaced,
    replaced_by_failure,
    replaced_by_group,
)
from tests.waiting import wait_until


# -- link and link_error ------------------------------------------------------
def test_linked_task_runs_as_a_step_when_its_task_has_ended(coordinator, start_worker, tmp_path):
    """A callback gets the value, the canvas' value stays, and the job ends after both."""
    start_worker(env=JOBS)
    runs = tmp_path / "runs"
    canvas = chain(add.s(1, 2).set(link=[mark.s(str(runs)), mark.si("also", str(runs))]), double.s())
    canvas.link(chain(double.s(), mark.s(str(runs))))

    job = coordinator.launch(canvas)

    assert coordinator.wait(job, timeout_s=20) == 6
    assert sorted(lines(runs)) == ["12", "3", "also"]
    assert coordinator.status(job).steps_done == 6


def test_error_callback_is_called_once_when_several_tasks_fail(coordinator, start_worker, tmp_path):
    """link_error on the whole canvas: one call, with the id of the step that failed the job."""
    start_worker(env=JOBS)
    calls = tmp_path / "calls"
    canvas = chord([fail.si("boom"), fail.si("bang"), add.s(1, 1)], total.s())
    canvas.options["link_error"] = [note_failure.s(str(calls))]

    job = coordinator.launch(canvas)
    with pytest.raises(JobFailed):
        coordinator.wait(job, timeout_s=20)

    wait_until(lambda: lines(calls), what="the error callback")
    errback = next(step for step in coordinator.steps(job) if step.task == "coordinator.errback")
    wait_until(
        lambda: {s.key: s.state for s in coordinator.steps(job)}[errback.key] == StepState.SUCCEEDED,
        what="the error callback to be recorded",
    )
    assert lines(calls) == [coordinator.status(job).error["step"]]


def test_error_callback_gets_request_and_exception_when_it_takes_them(coordinator, start_worker, tmp_path):
    """As in Celery, a task of several arguments gets (request, exception, traceback)."""
    start_worker(env=JOBS)
    calls = tmp_path / "calls"
    canvas = chain(add.s(1, 1), fail.si("boom").on_error(note_error.s(str(calls))))

    job = coordinator.launch(canvas)

    wait_until(lambda: lines(calls), what="the error callback")
    assert lines(calls) == [f"{job}:1.fail ValueError boom True"]


def test_error_callback_is_not_called_when_another_task_fails(coordinator, start_worker, tmp_path):
    """link_error on a task is for that task, on a chain for all its tasks; each failure calls it."""
    start_worker(env=JOBS)
    calls, others = tmp_path / "calls", tmp_path / "others"
    canvas = chain(add.s(1, 1).on_error(note_failure.s(str(others))), fail.si("boom"))
    canvas.link_error(note_failure.s(str(calls)))

    job = coordinator.launch(canvas)

    wait_until(lambda: lines(calls), what="the error callback")
    coordinator.retry(job)
    wait_until(lambda: len(lines(calls)) == 2, what="the error callback of the second failure")
    assert not others.exists()


def test_error_callback_is_called_when_a_deadline_has_passed(coordinator, start_worker, tmp_path):
    """link_error of the whole canvas, whatever the job fails of."""
    start_worker(env=JOBS)
    calls = tmp_path / "calls"
    canvas = chain(wait_for_file.s(str(tmp_path / "never"), 3), add.s(1))
    canvas.link_error(note_failure.s(str(calls)))

    coordinator.launch(canvas, deadline_s=0.5)

    wait_until(lambda: calls.exists(), what="the error callback")


def test_error_callback_is_called_when_its_message_was_lost(coordinator, start_worker, services, tmp_path):
    """Its job has ended, so no watermark looks for it: it stays in the outbox until it has ended too."""
    start_worker(env=JOBS)
    calls, other = tmp_path / "calls", f"{services.env['COORDINATOR_QUEUE']}-other"
    job = coordinator.launch(fail.si("boom").on_error(note_failure.s(str(calls)).set(queue=other)))
    with pytest.raises(JobFailed):
        coordinator.wait(job, timeout_s=20)
    with coordinator.app.connection_for_write() as connection:
        queue = coordinator.app.amqp.queues[other](connection.default_channel)
        queue.declare()
        wait_until(queue.purge, what="the callback's message, to take it away")

    start_worker(env=JOBS, queues=[other])

    wait_until(lambda: lines(calls), what="the error callback")
    outbox = coordinator.state_manager.keys.named(job, "outbox")[0]
    wait_until(lambda: not coordinator.state_manager.client.zcard(outbox), what="nothing to be left to send")


# -- countdown, eta, expires --------------------------------------------------
def test_countdown_waits_in_redis_and_outlives_the_workers_when_set(coordinator, start_worker, tmp_path):
    """No message is sent before its time, so no worker holds it; one that comes later runs it."""
    runs = tmp_path / "runs"
    worker = start_worker(env=JOBS)
    job = coordinator.launch(chain(add.s(1, 1), mark.s(str(runs)).set(countdown=1.5), double.s()))
    wait_until(lambda: coordinator.status(job).steps_done == 1, what="the first step")
    began = time.monotonic()
    shard = coordinator.state_manager.keys.shard_of(job)
    timers = coordinator.state_manager.keys.index(shard, "timers")
    wait_until(lambda: coordinator.state_manager.client.zscore(timers, f"{job}|1"), what="the timer")
    worker.kill()

    start_worker(env=JOBS)

    assert coordinator.wait(job, timeout_s=20) == 4
    assert lines(runs) == ["2"] and time.monotonic() - began > 1.2


def test_eta_is_kept_when_set(coordinator, start_worker):
    """A step runs not before its eta; one that lies in the past is no delay."""
    start_worker(env=JOBS)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    past = datetime.now(UTC) - timedelta(days=1)
    job = coordinator.launch(group(add.s(1, 1).set(eta=past), add.s(2, 2).set(eta=soon)))

    assert coordinator.wait(job, timeout_s=20) == [2, 4]
    assert datetime.now(UTC) >= soon


def test_job_fails_when_a_step_expired_before_it_began(coordinator, start_worker):
    """Where Celery leaves a chain unfinished for ever, the job fails and says why."""
    job = coordinator.launch(chain(add.s(1, 1).set(expires=0.2), double.s()))
    expired = time.monotonic() + 0.2
    wait_until(lambda: time.monotonic() > expired, what="the step to expire")

    start_worker(env=JOBS)

    with pytest.raises(JobFailed, match="expire"):
        coordinator.wait(job, timeout_s=20)


# -- replace ------------------------------------------------------------------
PLACES = {
    "alone": lambda how: (replaced.s(1, how), 4),
    "starts a chain": lambda how: (chain(replaced.s(1, how), double.s()), 8),
    "in the middle of a chain": lambda how: (chain(add.s(1, 1), replaced.s(how), double.s()), 16),
    "ends a chain": lambda how: (chain(add.s(1, 1), replaced.s(how)), 8),
    "in a header": lambda how: (chord([replaced.s(1, how), add.s(1, 1), replaced.s(2, how)], total.s()), 14),
    "a body": lambda how: (chord([add.s(1, 1), add.s(2, 2)], chain(total.s(), replaced.s(how))), 24),
    "in a group": lambda how: (chain(add.s(1, 1), group(replaced.s(how), double.s())), [8, 4]),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_step_is_replaced_durably_wherever_it_stands(place, coordinator, start_worker):
    """``replace`` by a task, a chain, a chord, a nested replace, in each place that Celery allows."""
    start_worker(env=JOBS)
    ways = ["task", "chain", "chord", "group then task", "nested", "nested twice", "nested in a header"]
    jobs = {how: (coordinator.launch(PLACES[place](how)[0]), PLACES[place](how)[1]) for how in ways}

    for how, (job, value) in jobs.items():
        assert coordinator.wait(job, timeout_s=30) == value, how
        status = coordinator.status(job)
        assert status.steps_done == status.steps_total, how


def test_step_gives_a_list_when_it_is_replaced_by_a_group(coordinator, start_worker):
    """As Celery's ``replace`` does."""
    start_worker(env=JOBS)
    job = coordinator.launch(chain(replaced_by_group.s(2), total.s()))

    assert coordinator.wait(job, timeout_s=20) == 8


def test_links_and_error_callbacks_stay_when_a_step_is_replaced(coordinator, start_worker, tmp_path):
    """What was linked to a step holds for the canvas in its place."""
    start_worker(env=JOBS)
    runs, calls = tmp_path / "runs", tmp_path / "calls"
    good = coordinator.launch(replaced.s(1, "chord").set(link=mark.s(str(runs))))
    bad = coordinator.launch(chain(add.s(1, 1), replaced_by_failure.s().on_error(note_failure.s(str(calls)))))

    assert coordinator.wait(good, timeout_s=20) == 4
    assert lines(runs) == ["4"]
    wait_until(lambda: lines(calls), what="the error callback")
    assert lines(calls) == [f"{bad}:1/1.fail"]
