"""What came of each crash point: kept in a file as it is found, so that a run can be ended and resumed.

One JSON object a line. Rows of other sources than those that are tried now are left where they
are and not counted. ``python -m tests.faults.ledger FILE`` prints the table in Markdown.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.crash_points import VICTIMS
from tests.faults.shapes import SHAPES
from tests.servers.process import ROOT

RIGHT, HUNG, TWICE, WRONG, PAST = "right", "hung", "recorded twice", "wrong", "past the end"
HEADS = ("shape", "victim", "points tried", "hung", "recorded twice", "wrong otherwise", "code ran again")


@dataclass(frozen=True)
class Case:
    """A shape on a kind of broker, and who is killed."""

    kind: str  # rabbitmq, quorum or redis
    shape: str
    victim: str


@dataclass(frozen=True)
class Tried:
    """One point that was tried."""

    case: Case
    call: int
    when: int  # before the call, or after it
    verdict: str
    ran_again: bool = False  # code of a step that was killed before it was recorded
    took_s: float = 0.0
    report: str = ""

    @property
    def point(self) -> tuple[Case, int, int]:
        return self.case, self.call, self.when


class Ledger:
    """The points that were tried on these sources; safe to share between threads."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._sources = fingerprint()
        self.rows: dict[tuple[Case, int, int], Tried] = {}
        if path is not None and path.exists():
            for row in read(path, self._sources):
                if row.call:  # not a clean run that failed: it is made again
                    self.rows[row.point] = row

    def add(self, row: Tried) -> None:
        with self._lock:
            self.rows[row.point] = row
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                about = {"sources": self._sources, "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
                with self._path.open("a") as file:
                    file.write(json.dumps({**asdict(row.case), **_flat(row), **about}) + "\n")

    def has(self, case: Case, call: int, when: int) -> bool:
        """Whether a point was tried and came out right, or is none."""
        row = self.rows.get((case, call, when))
        return row is not None and row.verdict in (RIGHT, PAST)

    def of(self, case: Case) -> list[Tried]:
        with self._lock:
            return [row for row in self.rows.values() if row.case == case]


def read(path: Path, sources: str | None = None) -> list[Tried]:
    """Return the rows of a file: those of some sources, or all."""
    rows = []
    for line in path.read_text().splitlines():
        fields = json.loads(line)
        found = fields.pop("sources")
        fields.pop("at")
        if sources in (None, found):
            case = Case(fields.pop("kind"), fields.pop("shape"), fields.pop("victim"))
            rows.append(Tried(case, **fields))
    return rows


def fingerprint() -> str:
    """Return a name for the sources under test."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "coordinator").rglob("*")):
        if path.suffix in (".py", ".lua"):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def summary(rows: Iterable[Tried]) -> tuple[int, int, int, int, int]:
    """Return points tried, hung, recorded twice, wrong otherwise, and points after which code ran again."""
    fired = [row for row in rows if row.verdict != PAST]
    counts = [sum(row.verdict == verdict for row in fired) for verdict in (HUNG, TWICE, WRONG)]
    return len(fired), *counts, sum(row.ran_again for row in fired)


def markdown(rows: list[Tried]) -> str:
    """Return the table: points tried for each shape and victim, and what came of them."""
    victims = list(dict.fromkeys(row.case.victim for row in rows))
    heads = ["shape", *victims, *HEADS[3:]]
    lines = [f"| {' | '.join(heads)} |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    for shape in dict.fromkeys(row.case.shape for row in rows):
        lines.append(_line(shape, [row for row in rows if row.case.shape == shape], victims))
    return "\n".join([*lines, _line("**all**", rows, victims)])


def cells(name: str, rows: list[Tried], victims: Sequence[str]) -> list[str | int]:
    """Return a line of the table: points tried by victim, then what came of all of them."""
    tried = [summary(row for row in rows if row.case.victim == victim)[0] for victim in victims]
    return [name, *tried, *summary(rows)[1:]]


def _line(name: str, rows: list[Tried], victims: list[str]) -> str:
    return f"| {' | '.join(map(str, cells(name, rows, victims)))} |"


def _place(row: Tried) -> tuple[int, int]:
    shapes = [shape.name for shape in SHAPES]
    return shapes.index(row.case.shape), VICTIMS.index(row.case.victim)


def _flat(row: Tried) -> dict[str, object]:
    fields = asdict(row)
    del fields["case"]
    return fields


if __name__ == "__main__":
    latest = {row.point: row for row in read(Path(sys.argv[1]))}
    for kind in dict.fromkeys(point[0].kind for point in latest):
        found = [row for row in latest.values() if row.case.kind == kind]
        print(f"\n**{kind}**\n\n{markdown(sorted(found, key=_place))}")  # noqa: T201
