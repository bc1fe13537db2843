"""The table of what is claimed: its rows in order, and how it is shown. Measures nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from benchmarks.kept import Kept
from benchmarks.rows import (
    each,
    flat,
    header,
    help_time,
    hop,
    idle,
    memory,
    message,
    natural,
    redis_bytes,
    submit,
    wait,
)
from benchmarks.rows.join import join_row
from benchmarks.rows.row import FULL, Line, Row, Target

#: As many digits as the rounds of one run agree in.
DIGITS = 3


def rows(sizes: Sequence[int]) -> tuple[Row, ...]:
    """Every row, in the order of the table."""
    timed = (natural.ROW, header.ROW, hop.ROW, each.ROW, submit.ROW, flat.ROW)
    counted = (message.ROW, redis_bytes.ROW, wait.ROW, help_time.ROW, idle.ROW, memory.ROW)
    return (*(join_row(size) for size in sizes), *timed, *counted)


def lines_of(kept: Kept) -> Iterator[tuple[Line, bool]]:
    """Every line that rounds are kept of, and whether it was measured small (``--quick``)."""
    joins = [name for name in kept.rows if name.startswith("join-")]
    for row in rows(sorted(int(name.removeprefix("join-")) for name in joins)):
        if found := kept.rounds(row.name):
            scale = kept.scale(row.name)
            for line in row.lines(found, scale):
                yield line, not scale.is_as(FULL)


def shown(kept: Kept) -> Table:
    """The table for a terminal."""
    table = Table(title="Measured beside the targets: medians of rounds, ratios round by round")
    for heading in COLUMNS:
        table.add_column(heading, justify="left" if heading in ("what", "reached") else "right")
    for line, small in lines_of(kept):
        style = {True: "green", False: "red", None: "dim"}[line.is_reached]
        table.add_row(*cells(line, small), style=style)
    return table


COLUMNS = ("what", "target", "plain Celery", "Batuta", "measured", "from … to", "rounds", "reached")


def cells(line: Line, small: bool) -> tuple[str, ...]:
    """A line in words and figures."""
    plain, ours = (_beside(value, line.beside) for value in (line.plain, line.ours))
    least, most = figure(min(line.values)), figure(max(line.values))
    return (
        f"{line.what} (small)" if small else line.what,
        target(line.target, line.unit),
        plain,
        ours,
        f"{figure(line.measured)} {line.unit}".strip(),
        least if least == most else f"{least} … {most}",
        str(len(line.values)),
        {True: "yes", False: "no", None: ""}[line.is_reached],
    )


def target(wanted: Target | None, unit: str) -> str:
    if wanted is None:
        return ""
    return f"{'≥' if wanted.is_least else '≤'} {figure(wanted.limit)} {unit}".strip()


def figure(value: float) -> str:
    """Write a number with as many digits as it is worth."""
    if value == int(value) or abs(value) >= 10**DIGITS:
        return f"{value:,.0f}"
    return f"{value:.{DIGITS}g}"


def _beside(value: float | None, unit: str) -> str:
    return "" if value is None else f"{figure(value)} {unit}"
