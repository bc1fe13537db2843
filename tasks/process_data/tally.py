"""What was counted while checking: numbers that merge to the same report however the input is cut.

Invariant: merging the tallies of any cut, in order, gives the tally of the whole.
Counts add up; examples are the first ones in row order; of the values found
the smallest ``KEPT_VALUES`` are kept, so a kept value's count is complete.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

BUCKETS = 60  # stretches of the input, for the report's picture of where invalid rows lie
KEPT_VALUES = 1000
EXAMPLES = 3  # a rule
FIRST_ROWS = 20

Example = dict[str, Any]  # source, row, reasons


@dataclass(slots=True)
class Tally:
    """Figures about some rows."""

    rows: int = 0
    valid: int = 0
    quarantined: int = 0
    rules: dict[str, int] = field(default_factory=dict)  # rows that break each rule
    missing: dict[str, int] = field(default_factory=dict)  # rows without a value, by column
    invalid: dict[str, int] = field(default_factory=dict)  # rows with an invalid value, by column
    extremes: dict[str, list[Any]] = field(default_factory=dict)  # least and greatest valid value, by column
    found: dict[str, dict[str, int]] = field(default_factory=dict)  # invalid values, by rule
    sources: dict[str, list[int]] = field(default_factory=dict)  # rows and quarantined rows, by source
    places: list[int] = field(default_factory=lambda: [0] * BUCKETS)  # quarantined rows, along the input
    examples: dict[str, list[Example]] = field(default_factory=dict)  # first rows that break each rule
    first_rows: list[Example] = field(default_factory=list)  # first quarantined rows

    def add(self, more: Tally) -> None:
        """Take in the tally of the rows that follow."""
        self.rows += more.rows
        self.valid += more.valid
        self.quarantined += more.quarantined
        for mine, theirs in (
            (self.rules, more.rules),
            (self.missing, more.missing),
            (self.invalid, more.invalid),
        ):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count
        for name, bounds in more.extremes.items():
            self.extremes[name] = _wider(self.extremes.get(name), bounds)
        for rule, values in more.found.items():
            self.found[rule] = smallest(Counter(self.found.get(rule, {})) + Counter(values))
        for name, (rows, quarantined) in more.sources.items():
            known = self.sources.get(name, [0, 0])
            self.sources[name] = [known[0] + rows, known[1] + quarantined]
        self.places = [mine + theirs for mine, theirs in zip(self.places, more.places, strict=True)]
        for rule, examples in more.examples.items():
            self.examples[rule] = (self.examples.get(rule, []) + examples)[:EXAMPLES]
        self.first_rows = (self.first_rows + more.first_rows)[:FIRST_ROWS]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def smallest(values: dict[str, int]) -> dict[str, int]:
    """The smallest values that are kept, with their counts."""
    if len(values) <= KEPT_VALUES:
        return dict(sorted(values.items()))
    return {value: values[value] for value in heapq.nsmallest(KEPT_VALUES, values)}


def _wider(first: list[Any] | None, second: list[Any]) -> list[Any]:
    if first is None:
        return second
    low = [bounds[0] for bounds in (first, second) if bounds[0] is not None]
    high = [bounds[1] for bounds in (first, second) if bounds[1] is not None]
    return [min(low, default=None), max(high, default=None)]
