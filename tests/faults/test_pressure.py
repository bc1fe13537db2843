"""Out of memory, nonsense in the queue: a clear error or a later success, and workers that live."""

from __future__ import annotations

import json
import random
import secrets
import time

import pytest
from celery import chain, group

from coordinator.errors import BrokerUnreachable, InvalidRequest, JobNotFound, StateUnreachable
from coordinator.states import State, StepState
from tests.faults.conftest import SEED
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


@pytest.mark.brokers("rabbitmq")
def test_submit_is_refused_and_what_runs_goes_on_when_rabbitmq_blocks_publishers(
    coordinator, start_worker, services, rabbitmq, tmp_path
):
    """A memory alarm: a clear error at submit, and a step that was recorded is followed up afterwards."""
    start_worker()
    gate = tmp_path / "gate"
    job = coordinator.launch(chain(wait_for_file.s(str(gate)), double.si(4)))
    wait_until(lambda: [s for s in coordinator.steps(job) if s.state == StepState.RUNNING], what="running")
    rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        started = time.monotonic()
        refused = coordinator.launch(group(add.s(n, n) for n in range(3)), key="blocked")
        assert time.monotonic() - started < 60
        gate.write_text("x")
        wait_until(lambda: coordinator.status(job).steps_done == 1, what="the record")
    finally:
        rabbitmq.ctl("set_vm_memory_high_watermark", "0.4")

    assert coordinator.wait(job, timeout_s=60) == 8
    assert coordinator.wait(refused, timeout_s=60) == [0, 2, 4]


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


def test_workers_live_and_jobs_complete_when_nonsense_fills_the_queue(coordinator, start_worker, services):
    """Thousands of malformed messages, straight into the queue."""
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
        for _ in range(3000):
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


def test_requests_are_answered_clearly_when_they_are_nonsense(coordinator):
    """Generated bad requests: an answer that says what was expected, never an exception, nothing of a job."""
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

    for _ in range(1000):
        request = value() if rng.random() < 0.2 else {
            name: value() for name in ("id", "kind", "params", "more") if rng.random() < 0.7
        }  # fmt: skip
        if isinstance(request, dict) and isinstance(request.get("params"), dict):
            request["params"].pop("n", None)
        answer = coordinator.process_request(request)
        assert answer["status"] == "error" and answer["errors"], (request, answer)
        json.dumps(answer)


def test_key_of_any_characters_makes_a_job_that_can_be_found_by_its_id(coordinator, start_worker):
    """Strange keys: the receipt's id is plain, and names the job everywhere."""
    start_worker()
    for key in ("a b", "x:y|z", "{1}", "*", "new\nline", "ü" * 200, "../x", "🤖", "'; FLUSHALL"):
        job = coordinator.launch(add.s(1, 2), key=key)
        assert coordinator.wait(job, timeout_s=20) == 3
        assert coordinator.resolve(job) == job == coordinator.launch(add.s(1, 2), key=key)
        assert coordinator.steps(job)[0].state == StepState.SUCCEEDED


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
