"""A million no-op items through ``each`` in batches, against one task per item; and the memory it takes.

One task per item is sampled: a chord of plain Celery, and an ``each`` with a step per item.
All on one prefork worker with two children.
"""

from __future__ import annotations

import os
import time
from typing import Any

import psutil

from benchmarks.resident import Resident, peaks, thinned
from benchmarks.rows.join import joined_s
from benchmarks.rows.row import Figures, Line, Row, Scale, Turn, against, at_least, column
from benchmarks.servers import PREFORK, Servers
from benchmarks.sides import OURS, PLAIN

FEW = 1000
ALONE, BATCHED = "a step per item", "in batches"


def measure(turn: Turn) -> Figures:
    measured = (with_plain, with_ours) if turn.number % 2 else (with_ours, with_plain)
    return {what: figure for measure in measured for what, figure in measure(turn).items()}


def with_plain(turn: Turn) -> Figures:
    plain, items = turn.sides[PLAIN], turn.scale.per_item
    with turn.servers.fleet(plain, PREFORK):
        joined_s(plain, 100)
        return {PLAIN: items / joined_s(plain, items)}


def with_ours(turn: Turn) -> Figures:
    from coordinator import each

    ours: Any = turn.sides[OURS]
    noop, added = ours.tasks.noop, ours.tasks.added

    def batched(items: int) -> float:
        return rate(ours, each(noop.s(), combine=added.s(), over=range(items)), items)

    def alone(items: int) -> float:
        return rate(ours, each(noop.s(), join=added.s()), items, list(range(items)))

    with turn.servers.fleet(ours, PREFORK) as workers:
        resident = watched(turn.servers, workers[0].pid)
        alone(100)
        found: Figures = {ALONE: alone(turn.scale.per_item)}
        with resident.sampled() as few:
            batched(FEW)
        with resident.sampled() as many:
            found[BATCHED] = batched(turn.scale.items)
    return {**found, "peak of 1,000": peaks(few), "peak": peaks(many), "memory": thinned(many)}


def rate(ours: Any, canvas: Any, items: int, *args: Any) -> float:
    """Run a job that adds up its items; returns items a second."""
    started = time.perf_counter()
    value = ours.wait(ours.coordinator.launch(canvas, args=args))
    took_s = time.perf_counter() - started
    assert value == items * (items - 1) // 2, f"expected the sum of {items} numbers, got {value!r}"
    return items / took_s


def watched(servers: Servers, worker: int) -> Resident:
    beams = psutil.Process(servers.rabbitmq.process.pid).children(recursive=True)
    beam = max(beams, key=lambda process: process.memory_info().rss)
    pids = {"worker": worker, "RabbitMQ": beam.pid, "Redis": servers.redis.process.pid}
    return Resident({**pids, "submitter": os.getpid()}, worker="worker")


def lines(rounds: list[Figures], scale: Scale) -> list[Line]:
    ours = column(rounds, BATCHED)
    found = []
    for key, words in ((PLAIN, "plain Celery's one task per item"), (ALONE, "Batuta's own step per item")):
        what = f"{scale.items:,} items through each, against {words}"
        found.append(against(what, at_least(100), ours, column(rounds, key), unit="items/s"))
    return found


ROW = Row("each", lines, measure, rounds=2)
