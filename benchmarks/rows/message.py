"""The largest message of a join of 20,000 and of a chain of 100: body and headers, every message looked at.

RabbitMQ's tracer copies all that is published while the jobs run; the copies are read after it.
What is no task's (events for Flower, probes) is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from amqp import Connection
from kombu.utils.json import dumps

from benchmarks.rows.row import Figures, Line, Row, Scale, Turn, at_most, beside, column
from benchmarks.servers import SINGLE, Servers
from benchmarks.sides import OURS, PLAIN

QUEUE, EXCHANGE, PUBLISHED = "bench-traced", "amq.rabbitmq.trace", "publish.#"
CHAIN = 100


def measure(turn: Turn) -> Figures:
    ours, plain, size = turn.sides[OURS], turn.sides[PLAIN], turn.scale.message
    found: Figures = {}
    with traced(turn.servers) as largest:
        with turn.servers.fleet(ours, SINGLE):
            ours.wait(ours.publish(size))
            found["join"] = largest(size + 1)
            ours.chain(CHAIN, str(turn.servers.home / "ours"))
            found["chain"] = largest(CHAIN)
        with turn.servers.fleet(plain, SINGLE):
            plain.chain(CHAIN, str(turn.servers.home / "plain"))
            found["plain chain"] = largest(CHAIN)
    return found


@contextmanager
def traced(servers: Servers) -> Iterator[Any]:
    """Trace in the block; what is yielded takes the copies and returns the largest message's bytes."""
    host = f"{servers.rabbitmq.address}:{servers.rabbitmq.port}"
    user, password = servers.rabbitmq.user, servers.rabbitmq.password
    with Connection(host=host, userid=user, password=password) as connection:
        channel = connection.channel()
        channel.queue_declare(QUEUE, auto_delete=False, durable=False)
        channel.queue_bind(QUEUE, EXCHANGE, PUBLISHED)
        servers.rabbitmq.ctl("trace_on")
        try:
            yield lambda least: largest(channel, least)
        finally:
            servers.rabbitmq.ctl("trace_off")
            channel.queue_delete(QUEUE)


def largest(channel: Any, least: int) -> int:
    """Take every copy; at least so many must be tasks'."""
    sizes = []
    while copy := channel.basic_get(QUEUE, no_ack=True):
        headers = copy.headers["properties"].get("headers") or {}
        if "task" in headers:
            sizes.append(len(copy.body) + len(dumps(headers)))
    assert len(sizes) >= least, f"expected {least} messages or more, got {len(sizes)}"
    return max(sizes)


def lines(rounds: list[Figures], scale: Scale) -> list[Line]:
    join, chain, plain = (column(rounds, name) for name in ("join", "chain", "plain chain"))
    return [
        Line(f"largest message of a join of {scale.message:,}", at_most(2000), join, "bytes"),
        beside(f"largest message of a chain of {CHAIN}", at_most(2000), chain, plain, unit="bytes"),
    ]


ROW = Row("message", lines, measure, is_counted=True)
