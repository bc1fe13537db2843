"""Out of memory, blocked, over-size: a clear error or a later success, and workers that live."""

from __future__ import annotations

import secrets
import time

import pytest
from celery import chain, group

from coordinator.errors import (
    BrokerUnreachable,
    JobFailed,
    JobNotFound,
    StateUnreachable,
)
from coordinator.line import Line
from coordinator.states import State
from tests.facade import running
from tests.flows import add, double, mark, wait_for_file
from tests.waiting import wait_until, write_whole


def test_job_completes_when_redis_was_out_of_memory_in_between(
    coordinator, start_worker, redis_server, tmp_path
):
    """``noeviction``: writes are refused; a finished step waits with its result, a submit says why."""
    start_worker()
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    job = coordinator.launch(chain(wait_for_file.s(str(gate)), mark.si(1, str(runs))))
    wait_until(lambda: running(coordinator, job), what="the step to run")
    client = coordinator.state_manager.client
    client.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(StateUnreachable, match="out of memory"):
            coordinator.launch(add.s(1, 1))
        write_whole(gate, "x")
        wait_until(lambda: client.info("stats")["total_error_replies"] > 3, what="refused writes")
    finally:
        client.config_set("maxmemory", "0")

    assert coordinator.wait(job, timeout_s=30) == 1
    assert runs.read_text().split() == ["1"]


#: How an alarm is raised and taken back at run time, by rabbitmqctl.
ALARMS = {
    "memory": (["set_vm_memory_high_watermark", "absolute", "1MB"], ["set_vm_memory_high_watermark", "0.4"]),
    "disk": (["set_disk_free_limit", str(10**15)], ["set_disk_free_limit", "50MB"]),
}


@pytest.mark.brokers("rabbitmq")
@pytest.mark.parametrize("alarm", ALARMS)
def test_nothing_is_lost_when_an_alarm_of_rabbitmq_blocks_publishers(
    alarm, coordinator, start_worker, rabbitmq, tmp_path
):
    """A submit is answered in bounded time, ``why`` says what it waits for, and all goes on afterwards."""
    worker = start_worker()
    gate = tmp_path / "gate"
    canvas = chain(wait_for_file.s(str(gate), 120), double.si(4), mark.s(str(tmp_path / "runs")))
    job = coordinator.launch(canvas)
    wait_until(lambda: running(coordinator, job), what="the step to run")
    raised, cleared = ALARMS[alarm]
    rabbitmq.ctl(*raised)
    try:
        wait_until(lambda: alarm in rabbitmq.ctl("eval", "rabbit_alarm:get_alarms()."), what="the alarm")
        started = time.monotonic()
        submitted = coordinator.launch(group(add.s(n, n) for n in range(3)), key=f"blocked-by-{alarm}")
        assert time.monotonic() - started < 30
        assert coordinator.status(submitted).state == State.PROCESSING
        write_whole(gate, "x")
        wait_until(lambda: coordinator.status(job).steps_done == 1, what="the record")
        started = time.monotonic()
        reasons = {reason.code: reason.found for reason in coordinator.why(submitted)}
        assert "outbox" in reasons and "takes no message" in reasons["broker-unreachable"], reasons
        finding = next(finding for finding in coordinator.findings() if finding.name == "workers")
        assert finding.level == "error" and alarm in finding.found, finding
        assert time.monotonic() - started < 30
    finally:
        rabbitmq.ctl(*cleared)

    assert coordinator.wait(job, timeout_s=60) == 8
    assert coordinator.wait(submitted, timeout_s=60) == [0, 2, 4]
    assert (tmp_path / "runs").read_text().split() == ["8"]
    assert worker.process.is_alive()


@pytest.mark.brokers("rabbitmq")
def test_other_jobs_go_on_when_the_broker_refuses_a_message_for_its_size(
    coordinator, start_worker, rabbitmq, tmp_path
):
    """The job fails and says so; what else was left in the outbox is sent, and the workers live."""
    worker = start_worker()
    rabbitmq.ctl("eval", "application:set_env(rabbit, max_message_size, 100000).")
    try:
        large = coordinator.launch(mark.s("x" * 200_000, str(tmp_path / "runs")), key="large")
        left = leave_in_outbox(coordinator)
        assert coordinator.wait(coordinator.launch(add.s(1, 1)), timeout_s=20) == 2
        assert coordinator.wait(left, timeout_s=30) == 4
        with pytest.raises(JobFailed, match="200") as failed:
            coordinator.wait(large, timeout_s=30)
        assert "max_message_size" in str(failed.value)
    finally:
        rabbitmq.ctl("eval", "application:set_env(rabbit, max_message_size, 134217728).")
    assert worker.process.is_alive()


def leave_in_outbox(coordinator) -> str:
    """Record a job whose first step is never sent by whoever submitted it."""
    outbox = coordinator.app.parts.outbox
    send, outbox.send = outbox.send, lambda *_: 0
    try:
        return coordinator.launch(add.s(2, 2))
    finally:
        outbox.send = send


@pytest.mark.brokers("rabbitmq")
def test_submit_is_refused_and_absent_when_the_broker_is_down(coordinator, rabbitmq):
    """Refused means absent: nothing is left of the job."""
    rabbitmq.kill()
    try:
        with pytest.raises(BrokerUnreachable, match="is it running"):
            coordinator.launch(add.s(1, 1), key="absent")
        with pytest.raises(JobNotFound):
            coordinator.status("absent")
    finally:
        rabbitmq.start()


@pytest.mark.brokers("rabbitmq")
def test_submit_is_accepted_and_complete_when_the_broker_dies_before_its_confirm(
    coordinator, start_worker, rabbitmq, monkeypatch
):
    """It is recorded by then: what could not be sent is sent when the broker is back."""
    coordinator.launch(add.s(0, 0))  # connected from here on
    confirm = Line.confirm

    def confirm_late(line: Line, last: int) -> None:
        if line._unconfirmed:
            rabbitmq.kill()
        confirm(line, last)

    monkeypatch.setattr(Line, "confirm", confirm_late)
    try:
        job = coordinator.launch(add.s(1, 2), key="unconfirmed")
    finally:
        rabbitmq.restart()
    start_worker()

    assert job == "unconfirmed"
    assert coordinator.wait(job, timeout_s=60) == 3


def test_result_over_the_limit_goes_by_reference_when_there_is_a_place(
    coordinator, start_worker, services, tmp_path
):
    """With a folder for blobs a large result is passed on by reference; without one the job says so."""
    big = secrets.token_hex(10_000)
    services.env["COORDINATOR_RESULT_LIMIT_BYTES"] = "1024"
    plain = start_worker()
    job = coordinator.launch(chain(mark.s(big, str(tmp_path / "runs")), mark.s(str(tmp_path / "runs"))))
    wait_until(lambda: coordinator.status(job).state == State.FAILED, what="the failure")
    assert "COORDINATOR_BLOB_URL" in coordinator.status(job).error["message"]
    plain.stop()

    start_worker(env={"COORDINATOR_BLOB_URL": f"file://{tmp_path / 'blobs'}"})
    coordinator.retry(job)

    assert coordinator.wait(job, timeout_s=20) == big
    assert len(list((tmp_path / "blobs").iterdir())) == 1
