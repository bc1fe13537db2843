"""What a row of the table is: how much is measured, in how many rounds, and what is judged. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.servers import Servers
    from benchmarks.sides import Side

Figures = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """How much of each is measured."""

    joins: tuple[int, ...] = (5000, 20_000)
    natural: int = 5000  # the join that is waited for with result.get()
    header: int = 5000
    chains: int = 3  # of 100 steps, for the hops
    submits: int = 200
    items: int = 1_000_000
    per_item: int = 2000  # of them, as steps of their own
    flat: tuple[int, ...] = (1000, 10_000, 100_000)
    message: int = 20_000
    stored: int = 2000  # steps whose bytes in Redis are counted
    waits: tuple[int, ...] = (100, 20_000)
    starts: int = 10  # of manage.py --help
    finished: int = 10_000
    waiting: int = 1000
    settle_s: float = 150  # a job that waits is looked at less and less
    idle_s: float = 30
    memory: int = 5000

    def is_as(self, other: Scale) -> bool:
        """Whether two are the same but for the joins, each of which is a row of its own."""
        return replace(self, joins=()) == replace(other, joins=())

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Scale:
        names = {field.name for field in fields(cls)} & set(kept)
        values: dict[str, Any] = {
            name: tuple(kept[name]) if isinstance(kept[name], list) else kept[name] for name in names
        }
        return cls(**values)


FULL = Scale()
QUICK = Scale(
    joins=(200, 500),
    natural=200,
    header=500,
    chains=1,
    submits=30,
    items=20_000,
    per_item=200,
    flat=(200, 500, 1000),
    message=500,
    stored=200,
    waits=(20, 500),
    starts=3,
    finished=200,
    waiting=50,
    settle_s=3,
    idle_s=5,
    memory=500,
)


@dataclass(frozen=True)
class Target:
    """What a figure must reach: at least, or at most, ``limit``."""

    limit: float
    is_least: bool = False

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.is_least else value <= self.limit


def at_least(limit: float) -> Target:
    return Target(limit, is_least=True)


def at_most(limit: float) -> Target:
    return Target(limit)


@dataclass(frozen=True)
class Line:
    """One line of the table: a value for each round; its median is judged."""

    what: str
    target: Target | None
    values: Sequence[float]
    unit: str = "×"
    plain: float | None = None  # the two sides' own figures, in ``beside``
    ours: float | None = None
    beside: str = ""

    @property
    def measured(self) -> float:
        return statistics.median(self.values)

    @property
    def is_reached(self) -> bool | None:
        return None if self.target is None else self.target.holds(self.measured)


@dataclass(frozen=True)
class Turn:
    """One round of one row: where, how much, and whose turn is first."""

    servers: Servers
    sides: dict[str, Side]
    scale: Scale
    number: int

    def ordered(self, names: Sequence[str]) -> Iterator[Any]:
        """The sides, another first in each round."""
        first = self.number % len(names)
        return (self.sides[name] for name in (*names[first:], *names[:first]))


Place = tuple[str, str]  # a side's name, and its workers' shape


@dataclass(frozen=True)
class Row:
    """One row: measured by itself, or at ``places``, on fleets that it shares with other rows."""

    name: str
    lines: Callable[[list[Figures], Scale], list[Line]]
    measure: Callable[[Turn], Figures] | None = None
    at_place: Callable[[Turn, Any, str], Figures] | None = None  # the side, the shape
    places: tuple[Place, ...] = ()
    rounds: int = 5
    is_counted: bool = False  # counted, not timed: once is enough


def against(
    what: str, target: Target | None, ours: Sequence[float], plain: Sequence[float], *, unit: str
) -> Line:
    """Judge our figure as a multiple of the other side's, round by round: what drifts is in both."""
    ratios = [own / its for own, its in zip(ours, plain, strict=True)]
    return Line(what, target, ratios, plain=middle(plain), ours=middle(ours), beside=unit)


def beside(
    what: str, target: Target | None, ours: Sequence[float], plain: Sequence[float], *, unit: str
) -> Line:
    """Judge our figure by itself, and show plain Celery's."""
    return Line(what, target, ours, unit, plain=middle(plain), ours=middle(ours), beside=unit)


def column(rounds: list[Figures], key: str) -> list[float]:
    return [figures[key] for figures in rounds]


def middle(values: Sequence[float]) -> float:
    return statistics.median(values)
