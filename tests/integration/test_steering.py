from __future__ import annotations

import os
import signal
import time

import pytest
from celery import chain, chord

from coordinator import each
from coordinator.errors import IllegalTransition, InvalidRequest, JobCancelled, JobFailed
from coordinator.states import State, StepState
from tests.facade import running
from tests.flows import (
    add,
    double,
    half_or_whole,
    lines,
    mark,
    softly_too_long,
    stubborn,
    too_long,
    until_cancelled,
    wait_for_file,
)
from tests.waiting import wait_until


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_running_step_sees_within_two_seconds_when_its_job_is_cancelled(coordinator, start_worker, tmp_path):
    """``self.cancelled`` turns true, and nothing of the job starts afterwards."""
    start_worker()
    path = tmp_path / "seen"
    job = coordinator.launch(chain(until_cancelled.s(str(path)), mark.s(str(tmp_path / "runs"))))
    wait_until(lambda: (tmp_path / "seen.started").exists(), what="the step to run")

    coordinator.cancel(job)
    at = time.monotonic()
    wait_until(path.exists, timeout_s=5, what="the step to see the cancel")

    assert time.monotonic() - at < 2
    with pytest.raises(JobCancelled):
        coordinator.wait(job, timeout_s=5)
    wait_until(lambda: not running(coordinator, job), what="the step to end")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("is_in_batch", [False, True], ids=["a step", "an item"])
def test_step_runs_again_at_a_retry_when_it_had_returned_because_its_job_was_cancelled(
    is_in_batch, coordinator, start_worker, tmp_path
):
    """What it gave is half a value: it was recorded, and the job that was retried went on with it."""
    start_worker()
    gate = tmp_path / "gate"
    runs = tmp_path / "gate.runs"
    canvas = half_or_whole.s(str(gate))
    if is_in_batch:
        canvas = chain(mark.s([str(gate)], str(tmp_path / "list")), each(half_or_whole.s(), batch=1))
    job = coordinator.launch(canvas)
    wait_until(lambda: lines(runs), what="the step to run")
    coordinator.cancel(job)
    wait_until(lambda: not running(coordinator, job), what="the step to end")
    gate.touch()

    coordinator.retry(job)

    assert coordinator.wait(job, timeout_s=20) == (["whole"] if is_in_batch else "whole")
    assert len(lines(runs)) == 2


def test_stubborn_step_is_ended_after_the_grace_when_its_job_is_cancelled(
    coordinator, start_worker, services, tmp_path
):
    """A step that does not look is ended with its process, and a retry of the job runs it again."""
    services.env["COORDINATOR_GRACE_S"] = "0.5"
    start_worker()
    path = tmp_path / "pid"
    job = coordinator.launch(stubborn.s(str(path)))
    pid = int(wait_until(lambda: path.exists() and path.read_text(), what="the step to run"))

    coordinator.cancel(job)

    wait_until(lambda: not is_running(pid), timeout_s=10, what="the process to be ended")
    assert coordinator.wait(coordinator.launch(add.s(1, 1)), timeout_s=20) == 2
    path.unlink()
    coordinator.retry(job)
    wait_until(lambda: path.exists(), what="the step to run again")
    coordinator.cancel(job)


@pytest.mark.parametrize("task", [too_long, softly_too_long], ids=["hard", "soft"])
def test_job_fails_when_a_step_passes_its_time_limit(task, coordinator, start_worker):
    """Hard limits are found by the parent process, soft ones raised in the step; both reach the job."""
    start_worker()

    with pytest.raises(JobFailed, match=r"TimeLimit|SoftTimeLimit") as caught:
        coordinator.wait(coordinator.launch(chain(task.s(), double.s())), timeout_s=20)

    assert "TimeLimitExceeded" in caught.value.facts["error"]["type"]


def test_job_fails_with_an_alert_when_its_deadline_passes(coordinator, start_worker, tmp_path):
    """The deadline needs no step to be running."""
    job = coordinator.launch(wait_for_file.s(str(tmp_path / "never")), deadline_s=0.5)
    start_worker(concurrency=1)

    with pytest.raises(JobFailed, match="deadline"):
        coordinator.wait(job, timeout_s=20)
    assert [alert["alert"] for alert in coordinator.alerts()] == ["deadline"]


def test_running_step_goes_on_when_its_job_is_retried_within_the_grace(
    coordinator, start_worker, services, tmp_path
):
    """The cancel that would have ended its process is taken back."""
    services.env["COORDINATOR_GRACE_S"] = "1.5"
    start_worker()
    gate = tmp_path / "gate"
    job = coordinator.launch(wait_for_file.s(str(gate)))
    key = coordinator.state_manager.keys.named(job, "leases")[0]
    client = coordinator.state_manager.client

    def renewed() -> bool:
        """Whether the worker has looked at the job once more."""
        before = client.zscore(key, f"{job}|0")
        return bool(wait_until(lambda: client.zscore(key, f"{job}|0") != before))

    wait_until(lambda: client.zscore(key, f"{job}|0"), what="the step to run")
    wait_until(renewed)
    coordinator.cancel(job)
    wait_until(renewed)
    coordinator.retry(job)
    for _ in range(12):  # 0.2 s apart
        renewed()
    gate.write_text("x")

    assert coordinator.wait(job, timeout_s=20) == "x"
    assert "lease-lost" not in [event.event for event in coordinator.events(job)]


def test_steering_says_which_state_it_found_when_it_is_not_legal(coordinator, start_worker):
    """Each refusal names the job, its state and the states that are legal."""
    start_worker()
    job = coordinator.launch(add.s(1, 2))
    coordinator.wait(job, timeout_s=20)

    for verb in (coordinator.cancel, coordinator.pause, coordinator.resume, coordinator.retry):
        with pytest.raises(IllegalTransition, match=f"{job} is succeeded; only"):
            verb(job)
    with pytest.raises(IllegalTransition, match="succeeded"):
        coordinator.retry(job, from_step="0")
    failed = coordinator.launch(too_long.s())
    coordinator.cancel(failed)
    with pytest.raises(InvalidRequest, match="no step"):
        coordinator.retry(failed, from_step="17")
    assert coordinator.status(failed).state == State.CANCELLED


@pytest.mark.parametrize("verb", ["resume", "retry"])
def test_job_is_said_to_go_on_when_it_is_steered_while_the_broker_is_away(
    verb, coordinator, elsewhere, services, start_worker
):
    """That is recorded, and sent later: an error would say that it is not, and once more it is refused."""
    away = "amqp://a:b@127.0.0.1:1//" if services.kind == "rabbitmq" else "redis://127.0.0.1:1/0"
    job = coordinator.launch(add.s(1, 1))
    if verb == "resume":
        coordinator.pause(job)
    else:
        coordinator.cancel(job)

    assert getattr(elsewhere(broker_url=away), verb)(job).state == State.PROCESSING

    start_worker()
    assert coordinator.wait(job, timeout_s=20) == 2


def test_cancelled_job_ends_when_retried_after_its_last_record(coordinator, start_worker, tmp_path):
    """Everything recorded while the job stood still: the retry finds nothing to send, and ends it."""
    start_worker()
    gate = tmp_path / "gate"
    job = coordinator.launch(wait_for_file.s(str(gate)))
    wait_until(lambda: running(coordinator, job), what="the step to run")
    coordinator.cancel(job)
    gate.write_text("x")
    wait_until(lambda: coordinator.status(job).steps_done == 1, what="the result to be recorded")

    coordinator.retry(job)

    assert coordinator.wait(job, timeout_s=20) == "x"


def test_paused_chord_goes_on_where_it_stood_when_resumed(coordinator, start_worker, tmp_path):
    """Parts that finish while paused count; the body runs once after the resume."""
    start_worker()
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    canvas = chord([wait_for_file.s(str(gate)), mark.si("x", str(runs))], mark.si("body", str(runs)))
    job = coordinator.launch(canvas)
    wait_until(
        lambda: (
            {step.state for step in coordinator.steps(job)[:2]} == {StepState.SUCCEEDED, StepState.RUNNING}
        ),
        what="one part recorded and one running",
    )
    coordinator.pause(job)
    gate.write_text("x")
    wait_until(lambda: coordinator.status(job).steps_done == 2, what="both parts")

    coordinator.resume(job)

    assert coordinator.wait(job, timeout_s=20) == "body"
    assert runs.read_text().split() == ["x", "body"]


def test_paused_job_succeeds_when_the_step_that_ran_was_its_last(coordinator, start_worker, tmp_path):
    """Pausing ends no running step; where nothing follows it, the job has ended."""
    start_worker()
    gate = tmp_path / "gate"
    job = coordinator.launch(wait_for_file.s(str(gate)))
    wait_until(lambda: running(coordinator, job), what="the step to run")

    coordinator.pause(job)
    gate.write_text("done")

    assert coordinator.wait(job, timeout_s=20) == "done"
    assert coordinator.status(job).state == State.SUCCEEDED


def test_job_is_checked_when_it_was_cancelled_before_its_checks_had_decided(coordinator, start_worker):
    """A retry takes it back to where it was: its checks decide before any of its work is sent."""
    refused, wanted = (coordinator.submit("sum_to", {"n": n}).id for n in (-1, 4))
    for job in (refused, wanted):
        coordinator.cancel(job)
        coordinator.retry(job)
        assert coordinator.status(job).state == State.RECEIVED

    start_worker()

    assert coordinator.wait(wanted, timeout_s=20) == 12
    wait_until(lambda: coordinator.status(refused).state == State.REJECTED, what="the refusal")


@pytest.mark.brokers("rabbitmq")
def test_job_is_resumed_when_the_broker_is_away(coordinator, elsewhere, start_worker):
    """An error would say that it was not; what could not be sent is left to the reconciler."""
    job = coordinator.launch(chain(add.s(1, 1), double.s()))
    coordinator.pause(job)
    away = elsewhere(broker_url="amqp://guest:guest@127.0.0.1:1//")

    assert away.resume(job).state == State.PROCESSING

    start_worker()
    assert coordinator.wait(job, timeout_s=30) == 4


@pytest.mark.brokers("rabbitmq")
def test_worker_takes_its_next_message_when_one_has_expired_while_redis_was_away(
    elsewhere, own_redis, start_worker
):
    """It can't note that, and kept the message, the only one that it may have. The step is sent again."""
    facade = elsewhere(redis_url=own_redis.url(1))
    worker = start_worker(env={"REDIS_URL": own_redis.url(1)}, concurrency=1)
    os.kill(worker.pid, signal.SIGSTOP)
    facade.launch(add.s(1, 1).set(expires=1))
    sent_at = time.monotonic()
    wait_until(lambda: time.monotonic() > sent_at + 1.5, what="the message to expire")
    own_redis.stop()
    os.kill(worker.pid, signal.SIGCONT)
    wait_until(lambda: "failure-not-recorded" in worker.log.read_text(), timeout_s=20, what="its word of it")
    own_redis.start()

    assert facade.wait(facade.launch(add.s(1, 1)), timeout_s=30) == 2
