"""The time from a step of a chain of 100 to the next: each step notes when it runs."""

from __future__ import annotations

import statistics
from itertools import chain
from typing import Any

from benchmarks.rows.row import Figures, Line, Row, Scale, Turn, at_most, column, middle, ratios
from benchmarks.servers import PREFORK, SINGLE
from benchmarks.sides import CONFIRMED, OURS, PLAIN
from benchmarks.stamps import hops_ms

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


def lines(rounds: list[Figures], _scale: Scale) -> list[Line]:
    return [_line(rounds, name, shape) for name, shape in PLACES if name != OURS]


def _line(rounds: list[Figures], name: str, shape: str) -> Line:
    ours, plain = (column(rounds, f"{side} | {shape}") for side in (OURS, name))
    words = "" if name == PLAIN else ", its publishes confirmed"
    return Line(
        f"hop of a chain of {STEPS}, p50, both {shape}{words}",
        at_most(1.1),
        ratios(ours, plain),
        plain=middle(plain),
        ours=middle(ours),
        beside="ms",
    )


ROW = Row(
    "hop",
    lines,
    at_place=at_place,
    places=PLACES,
)
