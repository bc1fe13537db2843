"""What commands print: JSON for programs, tables for people, plain columns for pipes."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from coordinator.cli.session import Session

STYLES = {
    "received": "cyan",
    "waiting": "bright_black",
    "ready": "cyan",
    "processing": "blue",
    "running": "blue",
    "expanded": "blue",
    "paused": "yellow",
    "retrying": "yellow",
    "warn": "yellow",
    "succeeded": "green",
    "ok": "green",
    "failed": "red",
    "error": "red",
    "rejected": "red",
    "cancelled": "magenta",
    "lost": "bright_black",
}
AGES = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
PIPE_WIDTH = 10_000


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; a spare one is left out where the terminal is narrow."""

    title: str
    value: Callable[[Any], str]
    spare: bool = False
    folds: bool = False  # long text goes on in the next line, instead of being cut


def show_json(value: Any, *, indent: int | None = 2) -> None:
    """Print ``value``, which may hold dataclasses, as JSON."""
    click.echo(json.dumps(value, indent=indent, default=_plain, ensure_ascii=False))


def show_rows(session: Session, rows: Sequence[Any], columns: Sequence[Column], *, none: str) -> None:
    """Print a table, or a JSON list; ``none`` says on stderr that there is nothing."""
    if session.is_json:
        show_json(rows)
    elif not rows:
        click.echo(none, err=True)
    else:
        show_table(session, rows, columns)


def show_table(session: Session, rows: Sequence[Any], columns: Sequence[Column]) -> None:
    """Print rows in aligned columns that fit the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    on_terminal = is_table(session)
    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    if on_terminal:
        columns = _fitting(rows, columns, console.width)
    table = Table(box=None, pad_edge=False, header_style="bold" if on_terminal else "")
    for number, column in enumerate(columns):
        # An id goes on in the next line where it must: cut off, it is of no use.
        folds = on_terminal and (column.folds or (number == 0 and _is_tight(rows, columns, console.width)))
        table.add_column(column.title, overflow="fold", no_wrap=not folds)
    for row in rows:
        cells = [column.value(row) for column in columns]
        table.add_row(*(Text(cell, style=STYLES.get(cell, "") if on_terminal else "") for cell in cells))
    with console.capture() as capture:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def show_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print ``name  value`` lines; empty values are left out, long ones go on under themselves."""
    shown = [(name, value) for name, value in fields if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        room = _width() - width - 2
        first, *rest = [part for line in value.splitlines() for part in _wrapped(line, room)] or [""]
        click.echo(f"{name:<{width}}  {first}")
        for line in rest:
            click.echo(f"{'':<{width}}  {line}")


def is_table(session: Session) -> bool:
    """Whether to print for a person's terminal."""
    return session.output == "table" or (session.output == "" and sys.stdout.isatty())


def coloured(state: str) -> str:
    """Return a state's word in its colour; click takes the colour out in a pipe."""
    return click.style(state, fg=STYLES.get(state))


def age(ms: int | None) -> str:
    """Return how long ago ``ms`` (since the epoch) was, such as ``3 min ago``."""
    if not ms:
        return ""
    seconds = max(time.time() - ms / 1000, 0)
    size, unit = _scale(seconds)
    return f"{seconds // size:.0f} {unit} ago"


def moment(ms: int | None) -> str:
    """Return ``ms`` (since the epoch) in local time, with its age."""
    return f"{_local(ms):%Y-%m-%d %H:%M:%S} ({age(ms)})" if ms else ""


def clock(ms: int | None) -> str:
    """Return the local time of day of ``ms``, with the date where it isn't today's."""
    if not ms:
        return ""
    at = _local(ms)
    is_today = at.date() == datetime.now().astimezone().date()
    return at.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")


def span(ms: float | None) -> str:
    """Return a length of time (milliseconds) in its largest unit."""
    if ms is None:
        return ""
    if 0 <= ms < 1000:
        return f"{ms:.0f} ms"
    seconds = max(ms, 0) / 1000
    size, unit = _scale(seconds)
    amount = seconds / size
    return f"{amount:.1f} {unit}" if amount < 10 and amount % 1 >= 0.05 else f"{amount:.0f} {unit}"


def one_line(value: Any, limit: int = 200) -> str:
    """Return a value as short text on one line."""
    text = value if isinstance(value, str) else json.dumps(value, default=_plain, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _fitting(rows: Sequence[Any], columns: Sequence[Column], width: int) -> list[Column]:
    widths = {c.title: max(len(c.value(row)) for row in rows) for c in columns}
    kept = [c for c in columns if widths[c.title]]
    widths = {title: max(width, len(title)) for title, width in widths.items()}
    for column in reversed([c for c in kept if c.spare]):
        if sum(20 if c.folds else widths[c.title] for c in kept) + 2 * len(kept) <= width:
            break
        kept.remove(column)
    return kept


def _is_tight(rows: Sequence[Any], columns: Sequence[Column], width: int) -> bool:
    widths = [max(len(c.title), *(len(c.value(row)) for row in rows)) for c in columns if not c.folds]
    return sum(widths) + 2 * len(columns) > width


def _scale(seconds: float) -> tuple[int, str]:
    return next(((size, unit) for size, unit in AGES if seconds >= size), (1, "s"))


def _width() -> int:
    return max(shutil.get_terminal_size().columns, 40) if sys.stdout.isatty() else PIPE_WIDTH


def _wrapped(line: str, room: int) -> list[str]:
    # Words are not broken: a path or an id must stay fit to be copied.
    if len(line) <= room:
        return [line]
    return textwrap.wrap(line, room, break_long_words=False, break_on_hyphens=False)


def _local(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
