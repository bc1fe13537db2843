"""What the readers of all formats give: rows in a frame, and rows that fit into none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

ROW = "\0row"  # the column of row numbers; no source can name a column so and mean it


@dataclass(frozen=True, slots=True)
class Misfit:
    """A row that can't be put into columns."""

    row: int
    rule: str
    reason: str
    original: dict[str, Any]  # what the row held, for the quarantine


@dataclass(frozen=True, slots=True)
class Slice:
    """Some rows of a partition."""

    frame: pl.DataFrame  # the source's columns as read, and ROW
    misfits: list[Misfit]


def numbered(frame: pl.DataFrame, row: int) -> pl.DataFrame:
    """A frame with the numbers of its rows, from ``row`` on."""
    import polars as pl

    return frame.with_columns(pl.int_range(row, row + pl.len(), dtype=pl.Int64).alias(ROW))
