"""A retry, whole or from a step: what is forgotten, and what of before comes late."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from celery import chain, group
from celery.app.task import Context

from coordinator import each
from coordinator.attempt import Attempt, owner_of
from coordinator.errors import JobFailed
from coordinator.state import step_id
from coordinator.states import State
from coordinator.validation import verdicts
from tests.flows import (
    add,
    boom,
    double_elsewhere,
    grow,
    held,
    mark,
    pair,
    stamp,
    total,
    wait_for_file,
)
from tests.waiting import wait_until


def test_retry_from_a_step_forgets_all_that_came_of_it(coordinator, start_worker, tmp_path):
    """What came before stays recorded; the step, its canvas, the joins and what followed run again."""
    start_worker()
    runs, gate = tmp_path / "runs", tmp_path / "gate"

    def one(n: int):
        return mark.si(n, str(runs))

    job = coordinator.launch(
        chain(
            one(1),
            pair.si(2, str(runs)),
            each(mark.s(str(runs)), join=total.s()),
            group(one(7), chain(one(8), wait_for_file.si(str(gate), 0.2))),
        )
    )
    with pytest.raises(JobFailed):
        coordinator.wait(job, timeout_s=20)
    wait_until(lambda: "7" in runs.read_text().split(), what="the other part to be recorded")
    before = Counter(runs.read_text().split())
    assert before == Counter(["1", "pair2", "2", "3", "7", "8"])

    gate.write_text("ok")
    pair_step = next(step for step in coordinator.steps(job) if step.task == "tests.flows.pair")
    coordinator.retry(job, from_step=pair_step.id)

    assert coordinator.wait(job, timeout_s=20) == [7, "ok"]
    after = Counter(runs.read_text().split())
    assert after - before == Counter(["pair2", "2", "3", "7", "8"])
    status = coordinator.status(job)
    assert status.steps_done == status.steps_total


def test_retry_from_a_step_inside_an_expanded_one_keeps_its_siblings(coordinator, start_worker, tmp_path):
    """A step of a fragment: its siblings stay, the step in whose place it stands is recorded anew."""
    start_worker()
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    canvas = chain(
        pair.si(4, str(runs)),
        each(mark.s(str(runs)), join=total.s()),
        group(wait_for_file.si(str(gate), 0.2), mark.si(9, str(runs))),
    )
    job = coordinator.launch(canvas)
    with pytest.raises(JobFailed):
        coordinator.wait(job, timeout_s=20)
    wait_until(lambda: "9" in runs.read_text().split(), what="the other part to be recorded")
    before = Counter(runs.read_text().split())

    gate.write_text("ok")
    coordinator.retry(job, from_step="1/1")

    assert coordinator.wait(job, timeout_s=20) == ["ok", 9]
    assert Counter(runs.read_text().split()) - before == Counter(["5", "9"])


def test_retry_from_a_step_refuses_what_still_runs_on_its_old_value(coordinator, start_worker, tmp_path):
    """What was begun with a value that is forgotten is refused, and runs on the new one."""
    start_worker(concurrency=3)
    gate, mended, runs = tmp_path / "gate", tmp_path / "mended", tmp_path / "runs"
    parts = group(held.s(str(gate)), boom.s(str(mended), f"{gate}s"))
    job = coordinator.launch(chain(stamp.s(str(runs)), parts))
    with pytest.raises(JobFailed):
        coordinator.wait(job, timeout_s=20)

    mended.touch()
    coordinator.retry(job, from_step="0")
    wait_until(lambda: len(runs.read_text().splitlines()) == 2, what="the first step to run again")
    gate.touch()

    assert coordinator.wait(job, timeout_s=20) == [2, 2]


def test_step_is_sent_again_from_its_present_plan_when_it_was_expanded_anew(
    coordinator, start_worker, tmp_path
):
    """Whoever sends what was lost may remember the canvas that stood there before the retry."""
    start_worker()
    gate, parts = tmp_path / "gate", coordinator.app.parts
    job = coordinator.launch(
        chain(stamp.s(str(tmp_path / "runs")), grow.s(), wait_for_file.si(str(gate), 0.2))
    )
    with pytest.raises(JobFailed):
        coordinator.wait(job, timeout_s=20)
    assert parts.state.plan(job, "1/").size == 2

    gate.touch()
    coordinator.retry(job, from_step="0")
    assert coordinator.wait(job, timeout_s=20) == ""
    parts.outbox.send_again(job, "=1/0")

    assert parts.state.plan(job, "1/").size == 3


def test_step_does_not_run_from_a_message_of_before_when_its_job_was_retried_from_a_step(
    coordinator, start_worker, services, tmp_path
):
    """A message still in a queue says what the step was before: another canvas stands there now."""
    runs, queue = tmp_path / "runs", f"{services.env['COORDINATOR_QUEUE']}-other"
    start_worker()
    job = coordinator.launch(chain(stamp.s(str(runs)), double_elsewhere.s(queue)))
    wait_until(lambda: coordinator.app.parts.state.fragments(job), what="the step to wait in the other queue")
    coordinator.cancel(job)
    coordinator.retry(job, from_step="0")
    wait_until(lambda: coordinator.app.parts.state.fragments(job), what="the new step to wait there too")

    start_worker(queues=[queue])

    assert coordinator.wait(job, timeout_s=30) == 4


@pytest.mark.parametrize("has_begun_again", [True, False])
def test_retried_step_goes_on_when_celery_reports_the_failure_of_before(coordinator, has_begun_again):
    """Celery tells of an error after the attempt itself did; by then the job may have been retried."""
    job, worker = coordinator.launch(add.s(1, 2)), "w@host"
    state, (step,) = coordinator.state_manager, coordinator.state_manager.plan(job).steps
    task_id = step_id(job, step.key, step.label)
    number = state.begin(job, step, owner_of(worker) + "1")[1]
    error = {"step": task_id, "task": step.task, "type": "ValueError", "message": "no", "traceback": ""}
    assert state.fail(job, step.key, error, attempt=number) == "failed"
    coordinator.retry(job)
    if has_begun_again:
        assert state.begin(job, step, owner_of(worker) + "2")[1] == number + 1

    request = Context(id=task_id, task=step.task, hostname=worker)
    request.fence, request.is_told = number, not has_begun_again
    coordinator.app.backend.mark_as_failure(task_id, ValueError("no"), request=request)

    assert coordinator.status(job).state == State.PROCESSING


def test_attempt_gives_back_only_its_own_lease_when_its_worker_has_begun_the_step_again(coordinator):
    """A forgotten step may run beside its next attempt in one worker, which lost its lease to the first."""
    job, worker = coordinator.launch(add.s(1, 2)), "w@host"
    state, (step,) = coordinator.state_manager, coordinator.state_manager.plan(job).steps
    task, header = coordinator.app.tasks[step.task], {"job": job, "key": step.key, "take": ""}
    task.push_request(hostname=worker)
    attempt = Attempt(task, {**header, "follow": step.follow, "phase": step.phase})
    assert attempt._begin()[0] == "run"
    coordinator.cancel(job)
    coordinator.retry(job, from_step=step.key)
    assert state.begin(job, step, owner_of(worker) + "2")[0] == "run"

    attempt._release()
    task.pop_request()

    assert state.begin(job, step, owner_of(worker) + "3")[0] == "leased"


def test_checks_decide_anew_when_the_job_is_retried_from_one_of_them(coordinator, start_worker):
    """They begin only while their job is received; it stood for ever."""
    job = coordinator.submit("sum_to", {"n": 4}).id
    state, (*checks, gate) = coordinator.state_manager, coordinator.state_manager.plan(job).steps[:3]
    for step in checks:
        number = state.begin(job, step, "w#1")[1]
        state.finish(job, step.key, number, f'[null, {number}, 1, 1, "w"]', step.follow)
    number, flags = state.begin(job, gate, "w#1")[1], verdicts(["positive", "even"], [None, None], "x", "2")
    state.decide(job, gate.key, number, f'[{{}}, {number}, 1, 1, "w"]', gate.follow[0][1], flags)
    assert state.state(job) == State.PROCESSING
    coordinator.cancel(job)

    coordinator.retry(job, from_step=checks[0].key)

    assert state.state(job) == State.RECEIVED
    assert state.get_validation_status(job).verdict == "pending"
    start_worker()
    assert coordinator.wait(job, timeout_s=20) == 12


@pytest.mark.brokers("rabbitmq")
def test_step_goes_on_when_its_forgotten_attempt_passes_a_time_limit_in_the_same_worker(
    coordinator, start_worker, tmp_path
):
    """What a worker finds out of a process is about the attempt in it, not about one that began since."""
    worker = start_worker(concurrency=3)
    gate, mended, runs = tmp_path / "gate", tmp_path / "mended", tmp_path / "runs"
    limited = held.s(str(gate)).set(time_limit=8)
    job = coordinator.launch(chain(stamp.s(str(runs)), group(limited, boom.s(str(mended), f"{gate}s"))))
    with pytest.raises(JobFailed):
        coordinator.wait(job, timeout_s=20)
    began_at = time.monotonic()
    wait_until(lambda: time.monotonic() - began_at > 4, what="half of its time to be over")

    mended.touch()
    coordinator.retry(job, from_step="0")
    wait_until(lambda: "Hard time limit (8s)" in worker.log.read_text(), what="the limit")
    gate.touch()

    assert coordinator.wait(job, timeout_s=20) == [2, 2]
