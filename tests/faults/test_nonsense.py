"""Nonsense in the queue and in requests: refused plainly, each piece of it, by workers and façades that live.

Small amounts by default; ``--every-point`` takes 10,000 messages and 5,000 requests.
"""

from __future__ import annotations

import json
import pickle
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from coordinator.cli import connection
from coordinator.cli.exits import REJECTED, USAGE
from coordinator.cli.program import main
from coordinator.errors import IllegalTransition, InvalidRequest, JobNotFound
from coordinator.states import State, StepState
from tests.faults.figures import INPUT, SEED, tell
from tests.flows import add
from tests.waiting import wait_until

#: What a worker writes to its log for a message that it refuses, and whether the broker dead-letters it.
REFUSALS = {
    "Received invalid task message": True,
    "Received and deleted unknown message": True,
    "Received unregistered task": True,
    "Can't decode message body": False,
    "step-not-run": False,  # well-formed, of a job that does not exist
}
HEADER = {"job": "gone", "key": "0", "take": "", "follow": [], "phase": "work"}
ADD = {"task": "tests.flows.add", "id": "gone:0.add"}
HEADERS = (
    {}, {"task": 7, "id": 3}, {"task": "tests.flows.add"}, {"task": "no.such.task", "id": "a:0.b"},
    {**ADD, "batuta": HEADER}, {**ADD, "batuta": {"job": 1}},
    {**ADD, "batuta": {**HEADER, "follow": [["next"]]}}, {**ADD, "batuta": "x", "timelimit": "soon"},
)  # fmt: skip
BODIES = (
    b"", b"\x80\x04}", b"{", b"[]", b"[[], {}, {}]", b'[[1], {}, {"chain": 7}]', b"null", b'"x"',
    b"[1, 2, 3]", b"[[], {}, null]",
)  # fmt: skip
CONTENT_TYPES = ("application/json", "application/x-python-serialize", "text/plain", "application/x-nonsense")
ENCODINGS = ("utf-8", "binary", "klingon")


@pytest.fixture
def amount(request: pytest.FixtureRequest) -> Any:
    """Return how many: the small number, or all where all is asked for."""
    every = request.config.getoption("--every-point")
    return lambda small, all_: all_ if every else small


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def dead_letters(services, coordinator, request) -> Iterator[Any]:
    """Let RabbitMQ dead-letter what is rejected; gives what counts it, or None on Redis."""
    if services.kind != "rabbitmq":
        yield None
        return
    rabbitmq, name = request.getfixturevalue("rabbitmq"), coordinator.settings.queue
    where = {"dead-letter-exchange": "", "dead-letter-routing-key": f"{name}.dead"}
    rabbitmq.ctl("set_policy", name, f"^{name}$", json.dumps(where), "--apply-to", "queues")
    with coordinator.app.connection_for_write() as connection:
        channel = connection.default_channel
        channel.queue_declare(f"{name}.dead", durable=True, auto_delete=False)
        yield lambda: channel.queue_declare(f"{name}.dead", passive=True).message_count
        channel.queue_delete(f"{name}.dead")
    rabbitmq.ctl("clear_policy", name)


def publish_nonsense(coordinator: Any, many: int, bomb: Path) -> None:
    """Put malformed messages straight into the queue, some of them pickles that would do something."""
    rng = random.Random(SEED)
    bodies = (*BODIES, pickle.dumps(Bomb(bomb)))
    queue = coordinator.app.amqp.queues[coordinator.settings.queue]
    with coordinator.app.connection_for_write() as connection:
        connection.transport_options = {"confirm_publish": False}
        producer = connection.Producer()
        queue(connection.default_channel).declare()
        for _ in range(many):
            producer.publish(
                rng.choice(bodies),
                routing_key=queue.name,
                exchange="",
                headers=rng.choice(HEADERS),
                content_type=rng.choice(CONTENT_TYPES),
                content_encoding=rng.choice(ENCODINGS),
            )


def refusals(log: Path) -> Counter[str]:
    """Return how often a worker has refused a message, by the words it said so with."""
    pattern = "|".join(map(re.escape, REFUSALS))
    return Counter(re.findall(pattern, log.read_text(errors="replace")))


def test_each_message_is_refused_and_jobs_complete_when_nonsense_fills_the_queue(
    coordinator, start_worker, services, dead_letters, amount, tmp_path
):
    """Each malformed message is dead-lettered or refused with a word in the log; a job behind completes."""
    many = amount(1000, 10_000)
    publish_nonsense(coordinator, many, tmp_path / "bomb")
    worker = start_worker()
    children = worker.children()
    started = time.monotonic()

    assert coordinator.wait(coordinator.launch(add.s(1, 2)), timeout_s=120) == 3
    took_s = time.monotonic() - started

    refused = wait_until(
        lambda: (found := refusals(worker.log)).total() >= many and found, what="a word for each message"
    )
    assert refused.total() == many, refused
    if dead_letters:
        rejected = sum(count for words, count in refused.items() if REFUSALS[words])
        assert (
            wait_until(lambda: dead_letters() >= rejected and dead_letters(), what="dead letters") == rejected
        )
    assert worker.process.is_alive() and worker.children() == children, "a process ended"
    assert not (tmp_path / "bomb").exists(), "a pickle was read"
    assert not coordinator.alerts()
    tell(
        INPUT,
        f"{many:,} malformed messages on {services.kind}, then a job: {took_s:.1f} s; "
        + ", ".join(f"{words!r} {count:,}" for words, count in refused.most_common()),
    )


def nonsense(rng: random.Random, depth: int = 2) -> Any:
    """Return a JSON value that makes no sense, or what JSON has no word for."""
    kind = rng.choice(["none", "int", "text", "float", "list", "dict", "bool"])
    if depth == 0 or kind in ("none", "bool"):
        return rng.choice([None, True, False])
    if kind == "int":
        return rng.choice([0, -1, 2**70, 3])
    if kind == "float":
        return rng.choice([1.5, float("nan"), float("inf")])
    if kind == "text":
        return rng.choice(["", "sum_to", "process-data", "\x00\ud800", "🤖" * 50, "a" * 10_000, "../../etc"])
    if kind == "list":
        return [nonsense(rng, depth - 1) for _ in range(rng.randrange(3))]
    names = ["id", "kind", "params", "n", ""]
    return {rng.choice(names): nonsense(rng, depth - 1) for _ in range(rng.randrange(4))}


def bad_request(rng: random.Random) -> Any:
    """Return a request that must be refused: ``sum_to`` wants a number n, and there is none."""
    if rng.random() < 0.2:
        bad = nonsense(rng)
    else:
        bad = {name: nonsense(rng) for name in ("id", "kind", "params", "more") if rng.random() < 0.7}
    for asked in (bad, bad.get("params")) if isinstance(bad, dict) else ():
        if isinstance(asked, dict):  # the terminal is given either as parameters
            asked.pop("n", None)
    return bad


def check_is_clear(errors: list[str]) -> None:
    """Fail unless somebody has been told what was wrong, in few words."""
    assert errors and all(isinstance(error, str) and error.strip() for error in errors), errors
    assert not any("Traceback" in error or " object at 0x" in error for error in errors), errors
    assert max(map(len, errors)) < 1000, errors


def test_requests_are_answered_clearly_when_they_are_nonsense(coordinator, amount):
    """Generated bad requests: an answer that says what is wrong, never an exception, nothing accepted."""
    many = amount(500, 5000)
    rng = random.Random(SEED)
    started = time.monotonic()
    for _ in range(many):
        bad = bad_request(rng)
        answer = coordinator.process_request(bad)
        assert answer["status"] == "error", (bad, answer)
        check_is_clear(answer["errors"])
        json.dumps(answer)
    assert {job.state for job in coordinator.jobs()} <= {State.REJECTED}
    tell(INPUT, f"{many:,} bad requests: each refused clearly, {time.monotonic() - started:.1f} s")


def test_terminal_shows_no_traceback_when_requests_are_nonsense(coordinator, amount, monkeypatch):
    """``submit`` says what is wrong in a few lines and ends with the code for it."""
    many = amount(100, 1000)
    monkeypatch.setattr(connection, "open_coordinator", lambda **_: connection.Opened(coordinator, "redis"))
    rng = random.Random(SEED)
    started = time.monotonic()
    for _ in range(many):
        bad = bad_request(rng)
        params = bad.get("params") if isinstance(bad, dict) else bad
        words = ["submit", rng.choice(["sum_to", "sum_to", "sumto", "🤖"]), "--params", "-"]
        text = rng.choice([json.dumps(params), "{", "", "[1", json.dumps(bad)])
        done = CliRunner().invoke(main, words, input=text.encode("utf-8", "surrogatepass"))
        assert done.exit_code in (USAGE, REJECTED), (words, text, done.output, done.exception)
        assert isinstance(done.exception, SystemExit)
        assert done.stderr.strip() and "Traceback" not in done.output, (words, text, done.output)
        assert len(done.stderr) < 3000, done.stderr
    assert {job.state for job in coordinator.jobs()} <= {State.REJECTED}
    tell(INPUT, f"{many:,} bad requests at a terminal: no traceback, {time.monotonic() - started:.1f} s")


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


def test_canvas_that_is_no_canvas_is_refused(coordinator):
    """A clear error, and nothing recorded."""
    with pytest.raises(InvalidRequest, match="signature"):
        coordinator.launch({"task": None}, key="nothing")
    with pytest.raises(JobNotFound):
        coordinator.status("nothing")
