"""A partition's rows as polars frames, in slices of bounded size; rows without proper shape as misfits.

Invariant: each of the partition's rows comes out exactly once, in a frame or as
a misfit, under its row number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from . import records
from .csv_rows import from_csv
from .errors import SourceError
from .json_rows import from_json_lines
from .slices import ROW, Slice, numbered
from .sources import open_source
from .survey import Partition, Surveyed

SLICE_BYTES = 8 * 1024 * 1024
SLICE_CELLS = 1_250_000
LEAST_SLICE_BYTES = 64 * 1024
SLICE_ROWS = 262_144  # of Parquet


def slices(source: Surveyed, partition: Partition, columns: list[str]) -> Iterator[Slice]:
    """Read a partition.

    Arguments:
        columns: the columns wanted, in order.
    Raises:
        SourceError: the source can't be read.
    """
    if source.format == "parquet":
        yield from _parquet_slices(source, partition, columns)
        return
    row = partition.first_row
    delimiter = source.delimiter if source.format == "csv" else None
    for text, found in _texts(source, partition, delimiter):
        if delimiter is None:
            yield from_json_lines(text, found.ends, row, columns)
        else:
            for each in from_csv(source, text, found, row):
                yield Slice(each.frame.select(*columns, ROW), each.misfits)
        row += len(found.ends)


def _texts(
    source: Surveyed, partition: Partition, delimiter: str | None
) -> Iterator[tuple[bytes, records.Scan]]:
    """Yield whole records, and where each ends."""
    at, wanted_bytes = partition.start, _slice_bytes(source, partition)
    size_bytes = wanted_bytes
    with open_source(source.place) as file:
        while at < partition.end:
            # What is left of a record is read again with the rest of it: cheaper than joining two blocks.
            text = _read(source, file, at, min(size_bytes, partition.end - at))
            is_last = at + len(text) == partition.end
            if not is_last and len(text) < size_bytes:
                raise SourceError(
                    f"{source.name}: expected {partition.end} bytes, found fewer; it was cut short"
                )
            found = records.scan(text, delimiter, is_last=is_last)
            if len(found.ends):
                yield text[: found.consumed] if found.consumed < len(text) else text, found
            at += found.consumed
            size_bytes = wanted_bytes if found.consumed else size_bytes * 2


def _slice_bytes(source: Surveyed, partition: Partition) -> int:
    """How much to read at once: less where rows are so short that their cells would take more room."""
    cells = max(partition.rows * len(source.columns), 1)
    return max(min(SLICE_BYTES, (partition.end - partition.start) * SLICE_CELLS // cells), LEAST_SLICE_BYTES)


def _read(source: Surveyed, file: IO[bytes], at: int, size_bytes: int) -> bytes:
    try:
        file.seek(at)
        return file.read(size_bytes)
    except OSError as error:
        raise SourceError(
            f"{source.name}: expected to read it, but {error.strerror or error}; retry the job"
        ) from None


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
        yield Slice(numbered(frame, start + 1), [])
