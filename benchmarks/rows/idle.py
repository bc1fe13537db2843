"""CPU of an idle worker with its reconciler, beside 10,000 finished jobs and 1,000 that wait.

Half of those that wait have a step in a queue that nobody reads, half a retry in an hour. The time is
that of the worker's parent and its two children (/proc/PID/stat), once the reconciler has settled.
"""

from __future__ import annotations

import time
from typing import Any

import psutil

from benchmarks.rows.row import Figures, Line, Row, Scale, Turn, at_most, column
from benchmarks.servers import PREFORK
from benchmarks.sides import OURS
from tests.waiting import wait_until

NOBODY = "nobody-reads"


def measure(turn: Turn) -> Figures:
    ours: Any = turn.sides[OURS]
    scale = turn.scale
    with turn.servers.fleet(ours, PREFORK) as workers:
        fill(ours, scale)
        time.sleep(scale.settle_s)
        ours.redis.config_resetstat()
        share = share_of(workers[0].pid, scale.idle_s)
        calls = sum(stat["calls"] for stat in ours.redis.info("commandstats").values())
    turn.servers.forget()
    return {"share": share, "redis calls/s": calls / scale.idle_s}


def fill(ours: Any, scale: Scale) -> None:
    """Bring the jobs into Redis: finished ones, and ones that wait."""
    tasks, launch = ours.tasks, ours.coordinator.launch
    for _ in range(scale.finished):
        launch(tasks.noop.s(1))
    for number in range(scale.waiting):
        launch(tasks.later.s() if number % 2 else tasks.noop.s(1).set(queue=NOBODY))
    counts = ours.coordinator.state_manager.counts
    wait_until(
        lambda: counts()["active"] == scale.waiting, timeout_s=300, what="the others to finish", pause_s=1
    )


def share_of(pid: int, seconds: float) -> float:
    """Return how much of a core a worker and its children take, in percent."""
    before, started = used_s(pid), time.perf_counter()
    time.sleep(seconds)
    return (used_s(pid) - before) / (time.perf_counter() - started) * 100


def used_s(pid: int) -> float:
    process = psutil.Process(pid)
    times = [part.cpu_times() for part in (process, *process.children(recursive=True))]
    return float(sum(part.user + part.system for part in times))


def lines(rounds: list[Figures], scale: Scale) -> list[Line]:
    what = f"idle worker beside {scale.finished:,} finished and {scale.waiting:,} waiting jobs: CPU"
    return [Line(what, at_most(1), column(rounds, "share"), "% of a core")]


ROW = Row("idle", lines, measure, is_counted=True)
