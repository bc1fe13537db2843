"""A partition's rows as polars frames, in slices of bounded size; rows that have no proper shape as misfits.

Invariant: each of the partition's rows comes out exactly once, in a frame or as
a misfit, under its row number. CSV is parsed by polars where that provably gives
what Python's ``csv`` module gives (plain quotes, the right number of fields in
every row), and record by record in the stretches where it may not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.process_data import records
from tasks.process_data.errors import SourceError
from tasks.process_data.layout import BOM
from tasks.process_data.sources import open_source
from tasks.process_data.survey import Partition, Surveyed

if TYPE_CHECKING:
    import polars as pl

ROW = "\0row"  # the column of row numbers; no source can name a column so and mean it
SLICE_BYTES = 16 * 1024 * 1024
STRETCH_BYTES = 256 * 1024
SLICE_ROWS = 262_144  # of Parquet


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


def slices(source: Surveyed, partition: Partition, columns: list[str]) -> Iterator[Slice]:
    """Read a partition.

    Arguments:
        columns: the columns wanted, in order.
    Raises:
        SourceError: text is not UTF-8, or the source can't be read.
    """
    if source.format == "parquet":
        yield from _parquet_slices(source, partition, columns)
        return
    row = partition.first_row
    delimiter = source.delimiter if source.format == "csv" else None
    for text, found in _texts(source, partition, delimiter):
        if delimiter is None:
            yield _from_json_lines(source, text, found.ends, row, columns)
        else:
            frames, misfits = _from_csv(source, text, found, row)
            yield Slice(_joined(frames).select(*columns, ROW), misfits)
        row += len(found.ends)


def _texts(
    source: Surveyed, partition: Partition, delimiter: str | None
) -> Iterator[tuple[bytes, records.Scan]]:
    """Yield whole records, and where each ends."""
    at, size_bytes = partition.start, SLICE_BYTES
    with open_source(source.place) as file:
        while at < partition.end:
            # What is left of a record is read again with the rest of it: cheaper than joining two blocks.
            file.seek(at)
            text = file.read(min(size_bytes, partition.end - at))
            is_last = at + len(text) == partition.end
            if not is_last and len(text) < size_bytes:
                raise SourceError(
                    f"{source.name}: expected {partition.end} bytes, found fewer; it was cut short"
                )
            found = records.scan(text, delimiter, is_last=is_last)
            if len(found.ends):
                yield text[: found.consumed] if found.consumed < len(text) else text, found
            at += found.consumed
            size_bytes = SLICE_BYTES if found.consumed else size_bytes * 2


def _from_csv(
    source: Surveyed, text: bytes, found: records.Scan, row: int
) -> tuple[list[pl.DataFrame], list[Misfit]]:
    frame = _parsed_at_once(source, text, found, row)
    if frame is not None:
        return [frame], []
    ends = found.ends
    if len(text) <= STRETCH_BYTES or len(ends) == 1:
        return _parsed_one_by_one(source, text, ends, row)
    frames: list[pl.DataFrame] = []
    misfits: list[Misfit] = []
    # Only the stretch that holds what polars reads otherwise is read slowly.
    start = taken = 0
    while taken < len(ends):
        upto = max(int(ends.searchsorted(start + STRETCH_BYTES)), taken + 1)
        end = int(ends[upto - 1])
        stretch = text[start:end]
        some, odd = _from_csv(
            source, stretch, records.scan(stretch, source.delimiter, is_last=True), row + taken
        )
        frames += some
        misfits += odd
        start, taken = end, upto
    return frames, misfits


def _parsed_at_once(source: Surveyed, text: bytes, found: records.Scan, row: int) -> pl.DataFrame | None:
    """Let polars parse, or None where it may read something other than what is there."""
    import polars as pl

    rows, width = len(found.ends), len(source.columns)
    if not found.is_plain or text.startswith(BOM) or text.endswith(b"\r"):
        return None
    # Too few fields would be filled up silently, so the delimiters must add up; too many raise.
    if records.delimiters_outside_quotes(text, source.delimiter) != rows * (width - 1):
        return None
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
    return _numbered(frame, row) if frame.height == rows else None


def _parsed_one_by_one(
    source: Surveyed, text: bytes, ends: records.Offsets, row: int
) -> tuple[list[pl.DataFrame], list[Misfit]]:
    import polars as pl

    fitting: list[list[str]] = []
    numbers: list[int] = []
    misfits: list[Misfit] = []
    start = 0
    for number, end in enumerate(ends.tolist(), row):
        values = _decoded(source, number, _record(text[start:end], source.delimiter))
        start = end
        if len(values) == len(source.columns):
            fitting.append(values)
            numbers.append(number)
        else:
            reason = f"expected {len(source.columns)} fields, found {len(values)}"
            misfits.append(Misfit(number, "row.fields", reason, {"fields": values}))
    frame = pl.DataFrame(fitting, schema=dict.fromkeys(source.columns, pl.String), orient="row")
    return [frame.with_columns(pl.Series(ROW, numbers, pl.Int64))], misfits


def _record(text: bytes, delimiter: str) -> list[bytes]:
    """A record's fields; blank lines before it, which are no records, are passed over."""
    while text[:1] == b"\n" or text[:2] == b"\r\n":
        text = text[1:] if text[:1] == b"\n" else text[2:]
    return records.fields(text, delimiter)


def _decoded(source: Surveyed, row: int, values: list[bytes]) -> list[str]:
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        at = values.index(error.object)
        column = source.columns[at] if at < len(source.columns) else f"number {at + 1}"
        raise SourceError(
            f"{source.name}: row {row}, column {column!r}: expected UTF-8, "
            f"found byte {error.object[error.start]:#04x} "
            f"in {error.object[:40]!r}; name the file's encoding, such as -p encoding=cp1252"
        ) from None


def _numbered(frame: pl.DataFrame, row: int) -> pl.DataFrame:
    import polars as pl

    return frame.with_columns(pl.int_range(row, row + pl.len(), dtype=pl.Int64).alias(ROW))


def _joined(frames: list[pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    return frames[0] if len(frames) == 1 else pl.concat(frames)


def _from_json_lines(
    source: Surveyed, text: bytes, ends: records.Offsets, row: int, columns: list[str]
) -> Slice:
    import polars as pl

    known = set(columns)
    rows: list[dict[str, str | None]] = []
    numbers: list[int] = []
    misfits: list[Misfit] = []
    start = 0
    for number, end in enumerate(ends.tolist(), row):
        line = text[start:end].strip(b"\r\n")
        start = end
        try:
            values, reason = _json_row(line, known)
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{source.name}: row {number}: expected UTF-8, found byte "
                f"{line[error.start]:#04x} at its byte "
                f"{error.start + 1}; name the file's encoding, such as -p encoding=cp1252"
            ) from None
        if reason:
            misfits.append(Misfit(number, "row.json", reason, {"text": line.decode()}))
        else:
            rows.append(values)
            numbers.append(number)
    frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String))
    return Slice(frame.with_columns(pl.Series(ROW, numbers, pl.Int64)), misfits)


def _json_row(line: bytes, known: set[str]) -> tuple[dict[str, str | None], str]:
    """An object's values as text, and why it is no row ("" if it is one)."""
    text = line.decode()
    try:
        # Numbers keep their own digits: 1.10 is not 1.1 to whoever wrote it.
        found = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        return {}, f"expected a JSON object, but it does not parse: {error}"
    if not isinstance(found, dict):
        return {}, f"expected a JSON object, found {type(found).__name__}"
    if not known.issuperset(found):
        extra = ", ".join(sorted(set(found) - known))
        return {}, f"expected only the keys of the first rows and the rules, found {extra} too"
    values = {key: _json_text(value) for key, value in found.items()}
    if "\\ud" in text.lower():
        try:
            "".join(value or "" for value in values.values()).encode()
        except UnicodeEncodeError:
            return {}, "expected Unicode text, found half of a surrogate pair"
    return values, ""


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _parquet_slices(source: Surveyed, partition: Partition, columns: list[str]) -> Iterator[Slice]:
    import polars as pl

    lazy = pl.scan_parquet(source.place, glob=False, hive_partitioning=False).select(columns)
    for start in range(partition.start, partition.end, SLICE_ROWS):
        length = min(SLICE_ROWS, partition.end - start)
        try:
            frame = lazy.slice(start, length).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise SourceError(
                f"{source.name}: rows {start + 1} to {start + length}: expected Parquet, "
                f"but it can't be read: {error}"
            ) from None
        yield Slice(_numbered(frame, start + 1), [])
