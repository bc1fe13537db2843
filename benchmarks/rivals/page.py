"""The page of the rivals and its plot, made from the kept results and nothing else.

Run it as ``python -m benchmarks.rivals.page``: it writes ``docs/explanation/performance-rivals.md``
between its marks, and ``docs/pictures/rivals.svg``. Ratios are against plain Celery in the same run.
"""

from __future__ import annotations

import json
import statistics
import tomllib
from pathlib import Path
from typing import Any

from benchmarks.documents import BLUE, DOCS, GREY, picture, with_made
from benchmarks.rivals.figures import RESULTS, figures
from benchmarks.rivals.sides import OURS, PLAIN, RIVALS

PAGE = DOCS / "explanation" / "performance-rivals.md"
WHAT = {
    "chain of 3: ms a hop": "chain of 3, ms a hop",
    "chain of 100: ms a hop": "chain of 100, ms a hop",
    "join of 100: steps/s": "join of 100, steps/s",
    "join of 1000: steps/s": "join of 1,000, steps/s",
    "join of 5000: steps/s": "join of 5,000, steps/s",
    "submit: ms, p50": "submit, ms, p50",
    "submit: ms, p99": "p99",
}
PLOTTED = {
    "chain of 100: ms a hop": "a hop of a chain of 100",
    "join of 1000: steps/s": "a step of a join of 1,000",
    "submit: ms, p50": "a submit",
}
#: What is plotted of a rival that does not bear the work.
STANDS_IN = {
    "chain of 100: ms a hop": "chain of 3: ms a hop",
    "join of 1000: steps/s": "join of 100: steps/s",
}


def runs() -> list[dict[str, Any]]:
    found = (RESULTS / f"{rival.name}.json" for rival in RIVALS)
    return [json.loads(path.read_text()) for path in found if path.exists()]


def times_plain(run: dict[str, Any], side: str, what: str) -> float:
    """Return how many times plain Celery's speed a side has: above 1 is faster."""
    own, plain = figures(run, side)[what], figures(run, PLAIN.name)[what]
    return own / plain if what.endswith("/s") else plain / own


def table(run: dict[str, Any]) -> list[str]:
    """A rival's table: three sides, each figure with its ratio to plain Celery."""
    columns = [what for what in WHAT if what in figures(run, run["rival"])]
    lines = ["| | " + " | ".join(WHAT[what] for what in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for side in (PLAIN.name, OURS.name, run["rival"]):
        values = figures(run, side)
        cells = [
            _cell(values[what], None if side == PLAIN.name else times_plain(run, side, what))
            for what in columns
        ]
        lines.append(f"| {side} | " + " | ".join(cells) + " |")
    return lines


def _cell(value: float, ratio: float | None) -> str:
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return shown if ratio is None else f"{shown} ({ratio:.2g} ×)"


def made(found: list[dict[str, Any]]) -> str:
    """The part of the page that comes from the results."""
    words = tomllib.loads((Path(__file__).parent / "words.toml").read_text())
    lines = ["| | as it was run | a worker is killed |", "|---|---|---|"]
    for name in (PLAIN.name, OURS.name, *(run["rival"] for run in found)):
        word = words[name]
        lines.append(f"| **{name}** | {word['set_up']} | {word['killed']} ([source]({word['source']})) |")
    for run in found:
        versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        measured = f"{run['date']}, {versions}; medians of {len(run['rounds'])} rounds."
        lines += ["", f"### {run['rival']}", "", measured, ""]
        lines += table(run)
    return "\n".join(lines)


def plot(found: list[dict[str, Any]]) -> None:
    """Draw speeds as multiples of plain Celery's, on a logarithmic scale."""
    names = [OURS.name, *(run["rival"] for run in found)]
    with picture("rivals", width=11, height=0.5 * len(names) + 1.3, columns=len(PLOTTED)) as axes:
        for axis, (what, title) in zip(axes, PLOTTED.items(), strict=True):
            for row, name in enumerate(names):
                ratio = _ratio(found, name, what)
                side = "left" if ratio >= 1 else "right"
                axis.barh(row, ratio - 1, left=1, color=BLUE if name == OURS.name else GREY)
                axis.text(ratio, row, f" {ratio:.2g} ", va="center", ha=side)
            axis.set(xscale="log", title=title, xlim=(0.0008, 15))
            axis.axvline(1, color="black", linewidth=0.8)
        axes[0].set_yticks(range(len(names)), names)
        axes[0].invert_yaxis()
        axes[0].figure.supxlabel("times plain Celery's speed in the same run (right of the line is faster)")


def _ratio(found: list[dict[str, Any]], name: str, what: str) -> float:
    """A rival's ratio; ours is the median of all runs."""
    its = [run for run in found if name in (OURS.name, run["rival"])]
    return statistics.median(times_plain(run, name, _plotted(run, what)) for run in its)


def _plotted(run: dict[str, Any], what: str) -> str:
    return what if what in figures(run, run["rival"]) else STANDS_IN[what]


def main() -> None:
    found = runs()
    PAGE.write_text(with_made(PAGE.read_text(), made(found), by="benchmarks.rivals.page"))
    plot(found)


if __name__ == "__main__":
    main()
