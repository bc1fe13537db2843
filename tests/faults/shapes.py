"""The canvases that are crashed at every point, with the value that each must give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import chain, chord, group

from coordinator import Coordinator, each, race
from tests.flows import count_to, double, fail, flaky, grow, mark, numbers_by_page, odd_only, total


@dataclass(frozen=True)
class Shape:
    """A canvas, built for one job on one file of runs."""

    name: str
    build: Callable[[str], Any]  # path of the file to which each run of ``mark`` writes a line
    value: Any = None  # None: the job must fail
    items: int = 1  # runs of ``mark`` in one message, all of which a kill can repeat
    told: Callable[[Any], Any] = lambda value: value  # what of the job's value is compared

    def submit(self, coordinator: Coordinator, path: str, key: str | None = None) -> str:
        """Submit one job; returns its id."""
        return coordinator.launch(self.build(path), key=key)


class ShippedJob(Shape):
    """``process_data`` with its checks, on six rows in several partitions."""

    def submit(self, coordinator: Coordinator, path: str, key: str | None = None) -> str:
        source = Path(f"{path}.csv")
        source.write_text("id,amount\n1,10\n2,20\n3,oops\n4,40\n5,50\n6,60\n")
        columns = {name: {"type": "integer", "required": True} for name in ("id", "amount")}
        params = {
            "source": str(source),
            "rules": {"columns": columns, "max_invalid_share": 0.5},
            "destination": f"{path}.out",
            "partition_bytes": 16,
        }
        return coordinator.submit("process_data", params, key=key).id


def one(path: str, number: int) -> Any:
    return mark.si(number, path)


SHAPES = [
    Shape("chain", lambda p: chain(one(p, 1), mark.s(p), double.s(), mark.s(p)), 2),
    Shape(
        "chord in a chain",
        lambda p: chain(one(p, 1), chord([mark.s(p), *(one(p, n) for n in (5, 7, 9))], total.s()), mark.s(p)),
        22,
    ),
    Shape(
        "nested chords",
        lambda p: chord([chord([one(p, 1), one(p, 2)], total.s()), one(p, 3)], total.s()),
        6,
    ),
    Shape(
        "chains in a header",
        lambda p: chord([chain(one(p, 1), double.s()), chain(one(p, 2), mark.s(p))], total.s()),
        4,
    ),
    Shape("chord of one", lambda p: chain(chord([one(p, 4)], total.s()), mark.s(p)), 4),
    Shape("group at the end", lambda p: chain(one(p, 1), group(mark.s(p), double.s())), [1, 2]),
    Shape(
        "retrying step",
        lambda p: chain(one(p, 1), flaky.si(f"{p}.flaky", 1, 0.1), mark.si(8, p)),
        8,
    ),
    Shape("failing step", lambda p: chain(one(p, 1), fail.si("on purpose"), mark.s(p))),
    Shape("replace", lambda p: chain(one(p, 1), grow.si(3), mark.s(p)), 6),
    Shape(
        "replace in a header",
        lambda p: chord([grow.si(2), chain(one(p, 1), grow.si(3))], chain(total.s(), mark.s(p))),
        8,
    ),
    Shape(
        "race against a step that waits",
        lambda p: chain(one(p, 1), race(mark.s(p), flaky.si(f"{p}.flaky", 3, 30)), mark.si(8, p)),
        8,
    ),
    Shape(
        "race with a lane that fails",
        lambda p: chain(race(chain(one(p, 1), double.s()), fail.si("a lane")), mark.s(p)),
        2,
    ),
    Shape("race that all lose", lambda p: chain(one(p, 1), race(fail.si("a"), fail.si("b")), mark.s(p))),
    Shape("links", lambda p: chain(one(p, 1).set(link=mark.s(p)), double.s().set(link=mark.s(p))), 2),
    Shape("error callback", lambda p: chain(one(p, 1), fail.si("on purpose").on_error(mark.si(9, p)))),
    Shape(
        "each in batches",
        lambda p: chain(count_to.s(5), each(mark.s(p), join=total.s(), batch=2, window=2), mark.s(p)),
        10,
        items=2,
    ),
    Shape(
        "each over pages, combined",
        lambda p: chain(
            each(mark.s(p), combine=total.s(), batch=1, window=2, over=numbers_by_page.s(2, 3)), mark.s(p)
        ),
        3,
    ),
    Shape(
        "each with items that fail",
        lambda p: chain(
            each(odd_only.s(), join=total.s(), batch=2, window=1, allow_failed=0.5, over=range(4)), mark.s(p)
        ),
        4,
    ),
    Shape("countdown", lambda p: chain(one(p, 1), mark.s(p).set(countdown=0.3), double.s()), 2),
    ShippedJob("the shipped job", one, (6, 5, 1), told=lambda v: (v["rows"], v["valid"], v["quarantined"])),
]


def named(name: str) -> Shape:
    return next(shape for shape in SHAPES if shape.name == name)


def runs(path: Path) -> list[str]:
    """Return the lines that the runs of ``mark`` wrote."""
    return path.read_text().split() if path.exists() else []
