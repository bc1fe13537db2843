"""Submit of a one-step job against ``delay()`` with confirms; no worker runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from benchmarks.rows.row import Figures, Line, Row, Scale, Turn, against, at_most, column
from benchmarks.sides import CONFIRMED, OURS

NAMES = (CONFIRMED, OURS)
WARM = 30


def measure(turn: Turn) -> Figures:
    found: Figures = {}
    for side in turn.ordered(NAMES):
        times_ms(side.submit, WARM)
        found |= {f"{side.name} | {at}": ms for at, ms in middles(times_ms(side.submit, turn.scale.submits))}
        side.purge()
    turn.servers.forget()
    return found


def times_ms(call: Callable[[], object], calls: int) -> list[float]:
    found = []
    for _ in range(calls):
        started = time.perf_counter()
        call()
        found.append((time.perf_counter() - started) * 1000)
    return found


def middles(ms: list[float]) -> list[tuple[str, float]]:
    return [("p50", statistics.median(ms)), ("p99", sorted(ms)[int(len(ms) * 0.99)])]


def lines(rounds: list[Figures], _scale: Scale) -> list[Line]:
    found = []
    for at, target in (("p50", at_most(1.5)), ("p99", None)):
        ours, plain = (column(rounds, f"{name} | {at}") for name in (OURS, CONFIRMED))
        what = f"submit of a one-step job against delay() with confirms, {at}"
        found.append(against(what, target, ours, plain, unit="ms"))
    return found


ROW = Row("submit", lines, measure)
