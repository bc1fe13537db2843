"""Cut the sources into partitions at true row ends, in one pass and bounded memory.

A partition is a byte range of plain UTF-8 text, or a range of a Parquet file's
rows. Sources that can't be cut as they lie (gzip, zstd, other encodings, remote
Parquet) are first unpacked into the workspace. Each partition knows the number
of its first row, so that a quarantined row is named by its row in the source.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from . import records
from .errors import SourceError
from .layout import Layout, layout_of, one_layout
from .params import ProcessData
from .parquet_footer import row_groups
from .rules import load_rules
from .sources import Source, find_sources, open_source, size_and_change
from .unpacking import BLOCK_BYTES, needs_unpacking, plain_blocks
from .workspace import Workspace

RECORD_BYTES = 16 * 1024 * 1024  # a longer record is taken for an unclosed quote
# Rows of few bytes take more memory than their text: a partition of them ends before its size is reached.
PARTITION_CELLS = 8_000_000
SURVEY = "survey.json"


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A source as the partition steps see it."""

    name: str
    place: str  # where the plain bytes lie: the source itself or its unpacked copy
    format: str
    delimiter: str
    columns: list[str]
    rows: int
    size_bytes: int  # as stored
    change: list[Any]  # what told that ``place`` is still the same file


@dataclass(frozen=True, slots=True)
class Partition:
    """A piece of a source that one step reads."""

    index: int
    source: int  # its place in the survey's sources
    start: int  # byte offset; for Parquet, row offset
    end: int
    first_row: int  # the source's first row is 1; a header is no row, nor is a blank line
    rows: int


def survey(params: ProcessData, workspace: Workspace) -> list[dict[str, Any]]:
    """Cut every source; write what the partition steps share into the workspace.

    Returns:
        the partitions, as JSON objects, in the order of the sources and their rows.
    Raises:
        SourceError, RulesError, DestinationError: with what to do.
    """
    rules = load_rules(params.rules)
    sources = find_sources(params)
    columns = one_layout(sources)
    workspace.create()
    surveyed: list[Surveyed] = []
    partitions: list[Partition] = []
    for number, source in enumerate(sources):
        stored = size_and_change(source.place)  # before it is read: what comes after is a change
        plain = _unpacked(source, number, workspace) if needs_unpacking(source) else source
        change = stored if plain is source else size_and_change(plain.place)
        cuts = list(_cuts(plain, params.partition_bytes))
        partitions += [Partition(index, number, *cut) for index, cut in enumerate(cuts, len(partitions))]
        surveyed.append(_surveyed(source, plain, sum(cut[3] for cut in cuts), int(stored[0] or 0), change))
        if not cuts and not params.allow_empty:
            raise SourceError(
                f"{source.name}: expected at least one row, found only a header; "
                "check what wrote it, or set allow_empty"
            )
    shared = {
        "rules": rules.model_dump(mode="json"),
        "columns": list(dict.fromkeys([*columns, *(rules.columns if sources[0].format == "jsonl" else [])])),
        "sources": [asdict(each) for each in surveyed],
        "rows": sum(each.rows for each in surveyed),
    }
    workspace.write_json(SURVEY, shared)
    return [asdict(partition) for partition in partitions]


def unchanged(source: Surveyed) -> None:
    """Make sure that a source is still the one that was surveyed.

    Raises:
        SourceError: it was written to meanwhile, so its partitions mean nothing any more.
    """
    try:
        found = size_and_change(source.place)
    except SourceError:
        found = []
    if found != source.change:
        raise SourceError(
            f"{source.name}: expected the file that was surveyed, but it has changed since; submit a new job"
        )


def _surveyed(source: Source, plain: Source, rows: int, size_bytes: int, change: list[Any]) -> Surveyed:
    layout = layout_of(plain)
    return Surveyed(
        name=source.name,
        place=plain.place,
        format=source.format,
        delimiter=layout.delimiter,
        columns=layout.columns,
        rows=rows,
        size_bytes=size_bytes,
        change=change,
    )


def _unpacked(source: Source, number: int, workspace: Workspace) -> Source:
    """Copy a source as plain bytes into the workspace, where every worker can seek in it."""
    name = f"unpacked/{number:05d}"
    with workspace.growing(name) as file:
        for block in plain_blocks(source):
            file.write(block)
    return Source(source.name, str(workspace.path(name)), source.format, source.delimiter, "utf-8")


def _cuts(plain: Source, size_bytes: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (start, end, first row, rows) of each partition."""
    if plain.format == "parquet":
        return _parquet_cuts(plain, size_bytes)
    return _text_cuts(plain, size_bytes)


def _text_cuts(plain: Source, size_bytes: int) -> Iterator[tuple[int, int, int, int]]:
    layout = layout_of(plain)
    start, most_rows = layout.start, max(PARTITION_CELLS // len(layout.columns), 1)
    begun, first_row, rows = start, 1, 0  # the partition being filled
    end = start
    for offset, ends in _record_ends(plain, layout):
        end = offset + int(ends[-1])
        while len(ends):
            target = begun + size_bytes - offset
            # The record that reaches the target is the last one of its partition.
            taken = min(int(ends.searchsorted(target)) + 1, most_rows - rows)
            if taken > len(ends):
                rows += len(ends)
                break
            rows += taken
            cut = offset + int(ends[taken - 1])
            yield begun, cut, first_row, rows
            begun, first_row, rows, ends = cut, first_row + rows, 0, ends[taken:]
    if rows:
        yield begun, end, first_row, rows


def _record_ends(plain: Source, layout: Layout) -> Iterator[tuple[int, records.Offsets]]:
    """Yield, block by block, an offset and the record ends relative to it."""
    delimiter = layout.delimiter if plain.format == "csv" else None
    offset, buffer, row = layout.start, b"", 0
    with open_source(plain.place) as file:
        file.seek(offset)
        while True:
            block = file.read(BLOCK_BYTES)
            buffer += block
            found = records.scan(buffer, delimiter, is_last=not block)
            row += len(found.ends)
            if len(found.ends):
                yield offset, found.ends
            buffer = buffer[found.consumed :]
            offset += found.consumed
            if len(buffer) > RECORD_BYTES or (not block and found.is_open):
                _refuse_open_record(plain, layout, row + 1, buffer)
            if not block:
                return


def _refuse_open_record(plain: Source, layout: Layout, row: int, buffer: bytes) -> None:
    start = buffer[:60].decode("utf-8", "replace")
    if plain.format == "csv" and b'"' in buffer:
        columns = layout.columns
        column = columns[min(records.open_field(buffer, layout.delimiter), len(columns)) - 1]
        raise SourceError(
            f"{plain.name}: row {row}, column {column!r}: expected a closing quote, found none in the "
            f"{len(buffer)} bytes that follow; close or remove the quote in the row that starts {start!r}"
        )
    raise SourceError(
        f"{plain.name}: row {row}: expected a row of at most {RECORD_BYTES} bytes, "
        f"found a longer one that starts {start!r}"
    )


def _parquet_cuts(plain: Source, size_bytes: int) -> Iterator[tuple[int, int, int, int]]:
    with open_source(plain.place) as file:
        try:
            groups = row_groups(file)
        except ValueError as error:
            raise SourceError(f"{plain.name}: expected Parquet, but {error}; get a whole copy") from None
    begun = end = filled = 0
    for group in groups:
        if filled and filled + group.size_bytes > size_bytes:
            yield begun, end, begun + 1, end - begun
            begun, filled = end, 0
        end += group.rows
        filled += group.size_bytes
    if end > begun:
        yield begun, end, begun + 1, end - begun
