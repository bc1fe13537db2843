"""Runs the rows: round by round, each row once, each side in turn; keeps every round at once."""

from __future__ import annotations

import gc
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.kept import Kept
from benchmarks.rows.row import Figures, Place, Row, Scale, Turn
from benchmarks.servers import Servers
from benchmarks.sides import sides

WARM = 100


@dataclass
class Run:
    """Which rows still need which rounds."""

    kept: Kept
    rows: Sequence[Row]
    scale: Scale
    rounds: int | None  # None: each row's own
    until: float  # no row begins a round after it, but for its first

    def wanted(self, row: Row) -> int:
        return 1 if row.is_counted else self.rounds or row.rounds

    def due(self, number: int) -> list[Row]:
        """The rows that have no such round."""
        return [
            row
            for row in self.rows
            if number < self.wanted(row) and len(self.kept.rounds(row.name)) <= number
        ]

    def is_over(self, number: int) -> bool:
        return number > 0 and time.monotonic() > self.until

    def measure(self, servers: Servers) -> None:
        for number in range(max(map(self.wanted, self.rows), default=0)):
            turn = Turn(servers, sides(), self.scale, number)
            for row, figures in self._round(turn):
                self.kept.add(row.name, self.scale, figures)

    def _round(self, turn: Turn) -> Iterator[tuple[Row, Figures]]:
        due = self.due(turn.number)
        shared = [row for row in due if row.at_place]
        if shared and not self.is_over(turn.number):
            yield from at_places(turn, shared)
        for row in due:
            if row.measure and not self.is_over(turn.number):
                started = say(turn, row.name)
                gc.collect()
                with told(row):
                    yield row, row.measure(turn)
                say_end(started)


def at_places(turn: Turn, shared: Sequence[Row]) -> Iterator[tuple[Row, Figures]]:
    """Measure what shares fleets: each side and shape comes up once, for all rows that want it."""
    found: dict[str, dict[Place, Figures]] = {row.name: {} for row in shared}
    for place in ordered(turn, shared):
        name, shape = place
        side = turn.sides[name]
        wanting = [row for row in shared if place in row.places]
        started = say(turn, f"{', '.join(row.name for row in wanting)}: {name}, {shape}")
        with turn.servers.fleet(side, shape):
            side.chain(3, os.devnull)
            side.wait(side.publish(WARM))
            for row in wanting:
                assert row.at_place is not None
                with told(row):
                    found[row.name][place] = row.at_place(turn, side, shape)
        say_end(started)
    for row in shared:
        if len(found[row.name]) == len(row.places):  # a round with a gap is none
            yield row, {key: value for part in found[row.name].values() for key, value in part.items()}


@contextmanager
def told(row: Row) -> Iterator[None]:
    """A row that fails ends no run: what failed is told, and ``--missing`` measures it again."""
    try:
        yield
    except Exception:
        print(f" {row.name} failed:\n{traceback.format_exc()}", file=sys.stderr, flush=True)


def ordered(turn: Turn, shared: Sequence[Row]) -> list[Place]:
    """Every place that is wanted, another first in each round."""
    places = list(dict.fromkeys(place for row in shared for place in row.places))
    first = turn.number % len(places)
    return [*places[first:], *places[:first]]


def say(turn: Turn, what: str) -> float:
    print(f"round {turn.number + 1}: {what} …", end="", file=sys.stderr, flush=True)
    return time.monotonic()


def say_end(started: float) -> None:
    print(f" {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
