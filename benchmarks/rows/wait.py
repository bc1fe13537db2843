"""What ``wait`` costs: Redis commands and subscriptions of the process that waits, by the job's size.

The commands are counted where they leave the waiting process, since ``INFO commandstats`` has the
workers' and the scripts' in it too; the subscriptions are those of ``INFO commandstats``. While it
waits, ``wait`` looks once every ``LOOK_S`` by itself, so that a lost word ends no wait: those looks go
with time, not with steps.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from redis.connection import AbstractConnection

from benchmarks.rows.row import Figures, Line, Row, Scale, Turn, at_most
from benchmarks.servers import SINGLE
from benchmarks.sides import OURS

SLACK = 3  # a connection's health check, a look more


def measure(turn: Turn) -> Figures:
    ours = turn.sides[OURS]
    with turn.servers.fleet(ours, SINGLE):
        cost(ours, 10)
        return {str(size): cost(ours, size) for size in turn.scale.waits}


def cost(ours: Any, size: int) -> Figures:
    """Return the commands that a wait sent beside its looks, its subscriptions, and how long it took."""
    from coordinator.coordinator import LOOK_S

    job = ours.publish(size)
    ours.redis.config_resetstat()
    started = time.perf_counter()
    with counted() as sent:
        ours.wait(job)
    waited_s = time.perf_counter() - started
    stats = ours.redis.info("commandstats")
    return {
        "commands": len(sent) - int(waited_s / LOOK_S),
        "subscriptions": stats.get("cmdstat_subscribe", {"calls": 0})["calls"],
        "waited_s": round(waited_s, 2),
    }


@contextmanager
def counted() -> Iterator[list[int]]:
    """Count what this process sends to Redis in the block."""
    sent: list[int] = []
    send = AbstractConnection.send_packed_command

    def counting(self: Any, command: Any, *more: Any, **options: Any) -> Any:
        sent.append(1)
        return send(self, command, *more, **options)

    with mock.patch.object(AbstractConnection, "send_packed_command", counting):
        yield sent


def lines(rounds: list[Figures], scale: Scale) -> list[Line]:
    least, most = str(scale.waits[0]), str(scale.waits[-1])
    size = f"{scale.waits[-1]:,}"
    subscriptions = [found[most]["subscriptions"] for found in rounds]
    more = [found[most]["commands"] - found[least]["commands"] for found in rounds]
    return [
        Line(f"wait on {size} steps: subscriptions", at_most(1), subscriptions, ""),
        Line(f"wait on {size} steps: commands more than on {least} steps", at_most(SLACK), more, ""),
    ]


ROW = Row("wait", lines, measure, is_counted=True)
