"""The time from a step of a chain of 100 to the next: each step notes when it runs."""

from __future__ import annotations

import statistics
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from benchmarks.rows.row import Figures, Line, Row, Scale, Turn, against, at_most, column
from benchmarks.servers import PREFORK, SINGLE
from benchmarks.sides import CONFIRMED, HOW, OURS, PLAIN

STEPS = 100
PLACES = ((PLAIN, PREFORK), (OURS, PREFORK), (PLAIN, SINGLE), (OURS, SINGLE), (CONFIRMED, PREFORK))


def at_place(turn: Turn, side: Any, shape: str) -> Figures:
    """Return the median of every hop."""
    paths = [
        turn.servers.home / f"hops-{turn.number}-{side.name}-{shape}-{n}" for n in range(turn.scale.chains)
    ]
    for path in paths:
        side.chain(STEPS, str(path))
    hops = list(chain.from_iterable(hops_ms(path) for path in paths))
    assert len(hops) == turn.scale.chains * (STEPS - 1), f"expected every hop once, got {len(hops)}"
    return {f"{side.name} | {shape}": statistics.median(hops)}


def hops_ms(path: Path) -> list[float]:
    """Return the time from each step of a chain to the next."""
    at = [float(line) for line in path.read_text().split()]
    return [(after - before) * 1000 for before, after in pairwise(at)]


def lines(rounds: list[Figures], _scale: Scale) -> list[Line]:
    return [_line(rounds, name, shape) for name, shape in PLACES if name != OURS]


def _line(rounds: list[Figures], name: str, shape: str) -> Line:
    ours, plain = (column(rounds, f"{side} | {shape}") for side in (OURS, name))
    what = f"hop of a chain of {STEPS}, p50, both {shape}{HOW[name]}"
    return against(what, at_most(1.1), ours, plain, unit="ms")


ROW = Row("hop", lines, at_place=at_place, places=PLACES)
