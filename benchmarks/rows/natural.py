"""The join, waited for with ``result.get()``: what one writes first, and quadratic in the header.

It may also never return, long after the body has run; it is then taken to have returned when patience ended.
"""

from __future__ import annotations

import gc
import time
from contextlib import suppress
from typing import Any

from celery.exceptions import TimeoutError as NotReturned

from benchmarks.rows.row import Figures, Line, Row, Scale, Turn, against, at_least, column
from benchmarks.servers import PREFORK, SINGLE
from benchmarks.sides import OURS, PLAIN


def at_place(turn: Turn, side: Any, shape: str) -> Figures:
    size = turn.scale.natural
    gc.collect()
    started = time.perf_counter()
    with suppress(NotReturned):
        side.wait_naturally(side.publish(size))
    return {f"{side.name} | {shape}": size / (time.perf_counter() - started)}


def lines(rounds: list[Figures], scale: Scale) -> list[Line]:
    plain = column(rounds, f"{PLAIN} | {PREFORK}")
    found = []
    for shape, words in ((PREFORK, f"both {PREFORK}"), (SINGLE, f"a fleet of 2 against {PREFORK}")):
        what = f"join of {scale.natural:,} against result.get(), {words}"
        ours = column(rounds, f"{OURS} | {shape}")
        found.append(against(what, at_least(8), ours, plain, unit="steps/s"))
    return found


ROW = Row(
    "get",
    lines,
    at_place=at_place,
    places=((PLAIN, PREFORK), (OURS, PREFORK), (OURS, SINGLE)),
    rounds=2,  # plain Celery takes a minute or more for each
)
