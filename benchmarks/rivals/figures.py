"""From seconds to figures: medians over rounds, in the words of the table."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "results" / "rivals"


def figures(run: dict[str, Any], side: str) -> dict[str, float]:
    """Return a side's figures in one run: the median of its rounds' medians; p99 over all rounds."""
    rounds = [found[side] for found in run["rounds"] if side in found]
    table: dict[str, float] = {}
    for what in rounds[0]:
        middle = statistics.median(statistics.median(found[what]) for found in rounds)
        kind, _, size = what.partition(" of ")
        if kind == "chain":
            table[f"{what}: ms a hop"] = middle / int(size) * 1000
        elif kind == "join":
            table[f"{what}: steps/s"] = int(size) / middle
        else:
            every = sorted(seconds for found in rounds for seconds in found[what])
            table["submit: ms, p50"] = statistics.median(every) * 1000
            table["submit: ms, p99"] = every[int(len(every) * 0.99)] * 1000
    return table


def sides_of(run: dict[str, Any]) -> list[str]:
    return sorted(run["rounds"][0], key=lambda name: (name == run["rival"], name == "Batuta"))


def print_table(run: dict[str, Any]) -> None:
    """Print a run's figures, and each side's as a multiple of plain Celery's."""
    names = sides_of(run)
    columns = {name: figures(run, name) for name in names}
    print(f"{'':<32}" + "".join(f"{name:>16}{'×':>8}" for name in names))
    for what in columns[run["rival"]]:
        plain = columns[names[0]][what]
        cells = (f"{columns[name][what]:>16,.2f}{columns[name][what] / plain:>8.2f}" for name in names)
        print(f"{what:<32}" + "".join(cells))
