"""What stays in Redis of a finished step that returned an integer: every key counted."""

from __future__ import annotations

from typing import Any

from celery import group

from benchmarks.rows.row import Figures, Line, Row, Scale, Turn, at_most, beside, column
from benchmarks.servers import PREFORK
from benchmarks.sides import OURS, PLAIN
from tests.waiting import wait_until


def measure(turn: Turn) -> Figures:
    return {name: per_step(turn, turn.sides[name]) for name in (PLAIN, OURS)}


def per_step(turn: Turn, side: Any) -> float:
    steps = turn.scale.stored
    client = turn.sides[OURS].redis  # type: ignore[union-attr]
    canvas = group([side.tasks.noop.s(n) for n in range(steps)])
    with turn.servers.fleet(side, PREFORK):
        before, there = used_bytes(client), client.dbsize()
        if side.name == OURS:
            side.wait(side.coordinator.launch(canvas))
        else:
            canvas.apply_async()
            wait_until(lambda: client.dbsize() - there >= steps, timeout_s=300, what="every result")
        return (used_bytes(client) - before) / steps


def used_bytes(client: Any) -> int:
    return sum(client.memory_usage(key, samples=0) or 0 for key in client.scan_iter(count=1000))


def lines(rounds: list[Figures], _scale: Scale) -> list[Line]:
    ours, plain = column(rounds, OURS), column(rounds, PLAIN)
    what = "Redis, a finished step that returned an integer"
    return [beside(what, at_most(250), ours, plain, unit="bytes")]


ROW = Row("redis", lines, measure, is_counted=True)
