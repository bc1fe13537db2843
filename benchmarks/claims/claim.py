"""What is claimed, what was measured, and whether it holds; and where the raw figures go."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "results"


@dataclass(frozen=True)
class Claim:
    """One line of the table: ``measured`` in ``unit``, at most ``target`` where there is one."""

    what: str
    measured: float
    unit: str
    target: float | None = None
    raw: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        verdict = "" if self.target is None else ("reached" if self.measured <= self.target else "MISSED")
        target = "" if self.target is None else f"≤ {self.target:g}"
        return f"{self.what:<70}{self.measured:>12,.3f} {self.unit:<10}{target:>10}  {verdict}"


def show(name: str, measure: Callable[[], Iterator[Claim]]) -> None:
    """Measure, print each claim as it is known, and keep all as ``results/NAME.json``."""
    found = []
    for claim in measure():
        print(claim.line(), flush=True)
        found.append(
            {
                "what": claim.what,
                "measured": claim.measured,
                "unit": claim.unit,
                "target": claim.target,
                **claim.raw,
            }
        )
    RESULTS.mkdir(exist_ok=True)
    kept = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "claims": found}
    (RESULTS / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")


def p99(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
