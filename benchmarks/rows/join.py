"""Fan-out and join: steps a second from the submit to the joined result at the submitter.

Plain Celery is waited for in its best way (a look at the result's key), in both worker shapes, as it
publishes by default and, on prefork and up to a header of 5,000, with confirms too.
"""

from __future__ import annotations

import gc
import time
from typing import Any

from benchmarks.rows.row import Figures, Line, Row, Scale, Turn, against, at_least, column
from benchmarks.servers import PREFORK, SINGLE
from benchmarks.sides import CONFIRMED, HOW, OURS, PLAIN

SAME = ((PLAIN, PREFORK), (OURS, PREFORK), (PLAIN, SINGLE), (OURS, SINGLE))
CONFIRMED_UP_TO = 5000


def join_row(size: int) -> Row:
    """The row of one size; the large ones take minutes and have fewer rounds."""
    is_small = size <= CONFIRMED_UP_TO

    def at_place(_turn: Turn, side: Any, shape: str) -> Figures:
        return {f"{side.name} | {shape}": size / joined_s(side, size)}

    def lines(rounds: list[Figures], _scale: Scale) -> list[Line]:
        return compared(rounds, f"join of {size:,}", has_confirmed=is_small)

    places = (*SAME, (CONFIRMED, PREFORK)) if is_small else SAME
    return Row(f"join-{size}", lines, at_place=at_place, places=places, rounds=5 if is_small else 2)


def joined_s(side: Any, size: int) -> float:
    """Submit and wait; returns the seconds of both."""
    gc.collect()
    started = time.perf_counter()
    value = side.wait(side.publish(size))
    took_s = time.perf_counter() - started
    assert value == size, f"expected a join of {size}, got {value!r}"
    return took_s


def compared(rounds: list[Figures], what: str, *, has_confirmed: bool) -> list[Line]:
    """Same shape against same shape, then the shape that we ship against what people run."""
    fleet = f"a fleet of 2 against {PREFORK}"
    pairs = [
        (f"both {PREFORK}", PREFORK, (PLAIN, PREFORK), at_least(1.5)),
        (f"both {SINGLE} processes", SINGLE, (PLAIN, SINGLE), at_least(1.5)),
        (fleet, SINGLE, (PLAIN, PREFORK), at_least(2.2)),
    ]
    if has_confirmed:
        pairs += [
            (f"both {PREFORK}{HOW[CONFIRMED]}", PREFORK, (CONFIRMED, PREFORK), at_least(1.5)),
            (f"{fleet}{HOW[CONFIRMED]}", SINGLE, (CONFIRMED, PREFORK), at_least(2.2)),
        ]
    return [
        against(
            f"{what}, {words}",
            target,
            column(rounds, f"{OURS} | {own}"),
            column(rounds, " | ".join(its)),
            unit="steps/s",
        )
        for words, own, its, target in pairs
    ]
