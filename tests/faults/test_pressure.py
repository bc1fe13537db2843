"""Out of memory, nonsense in the queue: a clear error or a later success, and workers that live."""

from __future__ import annotations

import json
import random
import secrets
import time

import pytest
from celery import chain, group

from coordinator.errors import (
    BrokerUnreachable,
    IllegalTransition,
    InvalidRequest,
    JobFailed,
    JobNotFound,
    StateUnreachable,
)
from coordinator.states import State, StepState
from tests.faults.figures import SEED
from tests.flows import add, double, mark, wait_for_file
from tests.waiting import wait_until


def test_job_completes_when_redis_was_out_of_memory_in_between(
    coordinator, start_worker, redis_server, tmp_path
):
    """``noeviction``: writes are refused; a finished step waits with its result, a submit says why."""
    start_worker()
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    job = coordinator.launch(chain(wait_for_file.s(str(gate)), mark.si(1, str(runs))))
    wait_until(lambda: [s for s in coordinator.steps(job) if s.state == StepState.RUNNING], what="running")
    client = coordinator.state_manager.client
    client.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(StateUnreachable, match="out of memory"):
            coordinator.launch(add.s(1, 1))
        gate.write_text("x")
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
    alarm, coordinator, start_worker, services, rabbitmq, tmp_path
):
    """A submit is answered in bounded time, ``why`` says what it waits for, and all goes on afterwards."""
    worker = start_worker()
    gate = tmp_path / "gate"
    canvas = chain(wait_for_file.s(str(gate), 120), double.si(4), mark.s(str(tmp_path / "runs")))
    job = coordinator.launch(canvas)
    wait_until(lambda: [s for s in coordinator.steps(job) if s.state == StepState.RUNNING], what="running")
    raised, cleared = ALARMS[alarm]
    rabbitmq.ctl(*raised)
    try:
        wait_until(lambda: alarm in rabbitmq.ctl("eval", "rabbit_alarm:get_alarms()."), what="the alarm")
        started = time.monotonic()
        submitted = coordinator.launch(group(add.s(n, n) for n in range(3)), key=f"blocked-by-{alarm}")
        assert time.monotonic() - started < 30
        assert coordinator.status(submitted).state == State.PROCESSING
        gate.write_text("x")
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
def test_submit_is_refused_and_absent_when_the_broker_is_down(coordinator, services, rabbitmq):
    """Refused means absent: nothing is left of the job."""
    rabbitmq.kill()
    try:
        with pytest.raises(BrokerUnreachable, match="is it running"):
            coordinator.launch(add.s(1, 1), key="absent")
        with pytest.raises(JobNotFound):
            coordinator.status("absent")
    finally:
        rabbitmq.start()


def test_workers_live_and_jobs_complete_when_nonsense_fills_the_queue(
    coordinator, start_worker, services, request
):
    """Thousands of malformed messages, straight into the queue."""
    every = request.config.getoption("--every-point")
    rng = random.Random(SEED)
    bodies = [
        b"", b"\x80\x04}", b"{", b"[]", b"[[], {}, {}]", b'[[1], {}, {"chain": 7}]', b"null", b'"x"',
        b"[1, 2, 3]", b"[[], {}, null]",
    ]  # fmt: skip
    header = {"job": "x", "key": "0", "take": "", "follow": [], "phase": "work"}
    headers = [
        {}, {"task": 7, "id": 3}, {"task": "tests.flows.add"}, {"task": "no.such.task", "id": "a:0.b"},
        {"task": "tests.flows.add", "id": "gone:0.add", "batuta": header},
        {"task": "tests.flows.add", "id": "gone:0.add", "batuta": {"job": 1}},
        {"task": "tests.flows.add", "id": "gone:0.add", "batuta": {**header, "follow": [["next"]]}},
        {"task": "tests.flows.add", "id": "gone:0.add", "batuta": "x", "timelimit": "soon"},
    ]  # fmt: skip
    kinds = ["application/json", "application/x-python-serialize", "text/plain", "application/x-nonsense"]
    queue = coordinator.app.amqp.queues[coordinator.settings.queue]
    with coordinator.app.connection_for_write() as connection:
        connection.transport_options = {"confirm_publish": False}
        producer = connection.Producer()
        queue(connection.default_channel).declare()
        for _ in range(10_000 if every else 3000):
            producer.publish(
                rng.choice(bodies),
                routing_key=queue.name,
                exchange="",
                headers=rng.choice(headers),
                content_type=rng.choice(kinds),
                content_encoding=rng.choice(["utf-8", "binary", "klingon"]),
            )
    worker = start_worker()

    assert coordinator.wait(coordinator.launch(add.s(1, 2)), timeout_s=90) == 3
    assert worker.process.is_alive()


def test_requests_are_answered_clearly_when_they_are_nonsense(coordinator, request):
    """Generated bad requests: an answer that says what was expected, never an exception, nothing of a job."""
    many = 5000 if request.config.getoption("--every-point") else 1000
    rng = random.Random(SEED)

    def value(depth: int = 2):
        kind = rng.choice(["none", "int", "text", "float", "list", "dict", "bool"])
        if depth == 0 or kind in ("none", "bool"):
            return rng.choice([None, True, False])
        if kind == "int":
            return rng.choice([0, -1, 2**70, 3])
        if kind == "float":
            return rng.choice([1.5, float("nan"), float("inf")])
        if kind == "text":
            return rng.choice(
                ["", "sum_to", "process-data", "\x00\ud800", "🤖" * 50, "a" * 10_000, "../../etc"]
            )
        if kind == "list":
            return [value(depth - 1) for _ in range(rng.randrange(3))]
        return {
            rng.choice(["id", "kind", "params", "n", ""]): value(depth - 1) for _ in range(rng.randrange(4))
        }

    for _ in range(many):
        bad = value() if rng.random() < 0.2 else {
            name: value() for name in ("id", "kind", "params", "more") if rng.random() < 0.7
        }  # fmt: skip
        if isinstance(bad, dict) and isinstance(bad.get("params"), dict):
            bad["params"].pop("n", None)
        answer = coordinator.process_request(bad)
        assert answer["status"] == "error" and answer["errors"], (bad, answer)
        json.dumps(answer)


STRANGE_KEYS = (
    "a b", "x:y|z", "{1}", "*", "new\nline", "ü" * 200, "../x", "🤖", "'; FLUSHALL", "\x00", "..", "-rf",
    "%2F", "a\u202eb", "=0", "!deadline", "job|^", "a" * 10_000, "\ud800", "__proto__", "[0-9]", "\\", "0",
)  # fmt: skip


def test_key_of_any_characters_makes_a_job_that_can_be_found_by_its_id(coordinator, start_worker):
    """Strange keys: the receipt's id is plain, and names the job everywhere."""
    start_worker()
    for key in STRANGE_KEYS:
        job = coordinator.launch(add.s(1, 2), key=key)
        assert coordinator.wait(job, timeout_s=20) == 3
        assert coordinator.resolve(job) == job == coordinator.launch(add.s(1, 2), key=key)
        assert coordinator.steps(job)[0].state == StepState.SUCCEEDED
        with pytest.raises(IllegalTransition, match="succeeded"):
            coordinator.cancel(job)
        answer = coordinator.process_request({"id": f"{key}!", "kind": "sum_to", "params": {"n": 4}})
        assert answer["status"] == "accepted" and coordinator.wait(answer["id"], timeout_s=20) == 12


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


def test_canvas_that_is_no_canvas_is_refused(coordinator):
    """A clear error, and nothing recorded."""
    with pytest.raises(InvalidRequest, match="signature"):
        coordinator.launch({"task": None}, key="nothing")
    with pytest.raises(JobNotFound):
        coordinator.status("nothing")
