"""CSV text as frames, read as Python's ``csv`` module reads it, at polars's speed.

polars parses where that provably gives the same: every quote at a field's edge,
the right number of fields in every row. Ragged rows are cut out first; where
quotes are odd, or bytes are no text, a stretch is read record by record. No row is lost or made up.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from . import records
from .layout import BOM
from .slices import ROW, Misfit, Slice, numbered
from .survey import Surveyed
from .unpacking import not_text, shown

if TYPE_CHECKING:
    import polars as pl

STRETCH_BYTES = 1024 * 1024
MOST_RAGGED = 10_000  # in one slice; with more, each stretch is read by itself, to bound memory


def from_csv(source: Surveyed, text: bytes, found: records.Scan, row: int) -> Iterator[Slice]:
    """Yield the rows of whole records.

    Arguments:
        found: what a scan of the text found.
        row: the number of its first row.
    """
    width = len(source.columns)
    is_sure = found.is_plain
    # Too few fields would be filled up silently, so the delimiters must add up; too many raise.
    if is_sure and records.delimiters_outside_quotes(text, source.delimiter) == len(found.ends) * (width - 1):
        frame = _parsed(source, text, len(found.ends))
        if frame is not None:
            yield Slice(numbered(frame, row), [])
            return
    if is_sure:
        apart = _ragged_apart(source, text, found.ends, row)
        if apart is not None:
            yield apart
            return
    if len(text) <= STRETCH_BYTES or len(found.ends) == 1:
        yield _one_by_one(source, text, found.ends, row)
        return
    # Only the stretch that holds what polars reads otherwise is read slowly.
    for start, end, taken, upto in _stretches(found.ends):
        stretch, ends = text[start:end], found.ends[taken:upto] - start
        is_plain = records.is_plain(stretch, ends, source.delimiter)
        yield from from_csv(source, stretch, records.Scan(ends, len(stretch), is_plain), row + taken)


def _stretches(ends: records.Offsets) -> Iterator[tuple[int, int, int, int]]:
    """Yield stretches of whole records: where each starts and ends, in bytes and in records."""
    start = taken = 0
    while taken < len(ends):
        upto = max(int(ends.searchsorted(start + STRETCH_BYTES)), taken + 1)
        yield start, int(ends[upto - 1]), taken, upto
        start, taken = int(ends[upto - 1]), upto


def _parsed(source: Surveyed, text: bytes, rows: int) -> pl.DataFrame | None:
    """What polars reads, or None where that is not as many rows as there are."""
    import polars as pl

    if text.startswith(BOM) or text.endswith(b"\r"):
        return None  # polars would take the one for a mark of the file, and keep the other.
    try:
        frame = pl.read_csv(
            text,
            has_header=False,
            schema=dict.fromkeys(source.columns, pl.String),
            separator=source.delimiter,
            empty_string_is_null=False,
        )
    except pl.exceptions.PolarsError:
        return None
    return frame if frame.height == rows else None


def _ragged_apart(source: Surveyed, text: bytes, ends: records.Offsets, row: int) -> Slice | None:
    """Let polars parse the rows with the right number of fields; None where there are many others."""
    import numpy as np
    import polars as pl

    is_ragged = records.delimiters_in_each(text, ends, source.delimiter) != len(source.columns) - 1
    ragged = np.flatnonzero(is_ragged).tolist()
    if not 0 < len(ragged) <= MOST_RAGGED or len(ragged) == len(ends):
        return None
    starts = np.concatenate([[0], ends[:-1]])
    odd = [text[starts[at] : ends[at]] for at in ragged]
    borders = [0, *(edge for at in ragged for edge in (int(starts[at]), int(ends[at]))), len(text)]
    rest = b"".join(text[start:end] for start, end in zip(borders[0::2], borders[1::2], strict=True))
    frame = _parsed(source, rest, len(ends) - len(ragged))
    if frame is None:
        return None
    numbers = pl.Series(ROW, np.flatnonzero(~is_ragged) + row, pl.Int64)
    found = _rows(source, odd, [row + at for at in ragged])
    return Slice(frame.with_columns(numbers), [each for each in found if isinstance(each, Misfit)])


def _one_by_one(source: Surveyed, text: bytes, ends: records.Offsets, row: int) -> Slice:
    import polars as pl

    starts = [0, *ends[:-1].tolist()]
    lines = [text[start:end] for start, end in zip(starts, ends.tolist(), strict=True)]
    width, numbers = len(source.columns), range(row, row + len(lines))
    found = _rows(source, lines, numbers)
    fitting = [
        (number, each) for number, each in zip(numbers, found, strict=True) if not isinstance(each, Misfit)
    ]
    columns = zip(*(each for _, each in fitting), strict=True) if fitting else [[]] * width
    frame = pl.DataFrame(
        [pl.Series(name, each, pl.String) for name, each in zip(source.columns, columns, strict=True)]
    ).with_columns(pl.Series(ROW, [number for number, _ in fitting], pl.Int64))
    return Slice(frame, [each for each in found if isinstance(each, Misfit)])


def _rows(source: Surveyed, lines: list[bytes], numbers: Sequence[int]) -> list[list[str] | Misfit]:
    """The fields of some records, or why they are no rows; read by Python's csv module where it can."""
    try:
        texts = [_without_blank_lines(line).decode() for line in lines]
        # A lone CR is text here, but not there.
        if not any("\r" in text[:-2] for text in texts):
            values = list(csv.reader(texts, delimiter=source.delimiter))
            return [_fitted(source, row, each) for row, each in zip(numbers, values, strict=True)]
    except (UnicodeDecodeError, csv.Error):
        pass  # The slower way tells which row and column it is, and takes fields of any length.
    pairs = zip(numbers, lines, strict=True)
    return [
        _decoded(source, row, records.fields(_without_blank_lines(line), source.delimiter))
        for row, line in pairs
    ]


def _without_blank_lines(record: bytes) -> bytes:
    """A record without the blank lines before it, which are no records."""
    while record[:1] == b"\n" or record[:2] == b"\r\n":
        record = record[1:] if record[:1] == b"\n" else record[2:]
    return record


def _fitted(source: Surveyed, row: int, values: list[str]) -> list[str] | Misfit:
    width = len(source.columns)
    if len(values) == width:
        return values
    return Misfit(row, "row.fields", f"expected {width} fields, found {len(values)}", {"fields": values})


def _decoded(source: Surveyed, row: int, values: list[bytes]) -> list[str] | Misfit:
    try:
        return _fitted(source, row, [value.decode() for value in values])
    except UnicodeDecodeError as error:
        at = values.index(error.object)
        column = source.columns[at] if at < len(source.columns) else f"number {at + 1}"
        return Misfit(
            row,
            "row.encoding",
            f"column {column!r}: {not_text(values[at])}",
            {"fields": [shown(value) for value in values]},
        )
