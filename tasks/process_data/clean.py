"""Clean one partition: read it, check every row, write its part, its quarantine and its counts.

Safe to run again after a kill at any place: the same partition gives the same
bytes, and every file is written whole under its final name or not at all.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .compiled import Compiled, compile_rules
from .engine import check
from .errors import SourceError
from .frames import slices
from .quarantine import Place
from .rules import Rules
from .slices import Slice
from .summary import Groups
from .survey import SURVEY, Partition, Surveyed, unchanged
from .tally import Tally
from .workspace import Workspace, Written

if TYPE_CHECKING:
    import polars as pl

COMPRESSION_LEVEL = 1  # zstd; the next levels cost more time than they save room


def clean(workspace: Workspace, item: dict[str, Any]) -> dict[str, Any]:
    """Clean the partition that an item of the survey describes.

    Returns:
        ``{index, rows, valid, quarantined, part, quarantine, tally}``, the last three as
        ``{path, size_bytes, sha256}``.
    Raises:
        SourceError, RulesError, DestinationError: with what to do.
    """
    partition = Partition(**item)
    shared = workspace.read_json(SURVEY)
    source = Surveyed(**shared["sources"][partition.source])
    rules = Rules.model_validate(shared["rules"])
    unchanged(source)
    compiled = compile_rules(rules, source_schema(source, shared["columns"]))
    rows_before = sum(each["rows"] for each in shared["sources"][: partition.source])
    place = Place(source.name, rows_before, shared["rows"])
    groups = Groups(rules, compiled.schema)
    name = f"{partition.index:05d}"
    with workspace.growing(f"quarantine/quarantine-{name}.jsonl") as quarantine:
        valid, tally = _checked(
            slices(source, partition, compiled.columns), compiled, place, groups, quarantine.write
        )
    unchanged(source)  # while it was read
    _refuse_lost_rows(source, partition, tally)
    counted = {"tally": tally.to_json(), "groups": groups.to_json()}
    return {
        "index": partition.index,
        "rows": tally.rows,
        "valid": tally.valid,
        "quarantined": tally.quarantined,
        "part": asdict(_write_part(workspace, f"parts/part-{name}.parquet", valid)),
        "quarantine": asdict(quarantine.written),
        "tally": asdict(workspace.write_json(f"tallies/{name}.json", counted)),
    }


def source_schema(source: Surveyed, columns: list[str]) -> dict[str, pl.DataType]:
    """The types of a source's columns: text, but for Parquet."""
    import polars as pl

    if source.format != "parquet":
        return dict.fromkeys(columns, pl.String())
    found = pl.read_parquet_schema(source.place)
    return {name: found[name] for name in columns}


def _checked(
    rows: Iterator[Slice],
    compiled: Compiled,
    place: Place,
    groups: Groups,
    set_aside: Callable[[bytes], None],
) -> tuple[pl.DataFrame, Tally]:
    import polars as pl

    frames, tally = [pl.DataFrame(schema=compiled.schema)], Tally()
    for each in rows:
        checked = check(each, compiled, place, set_aside)
        frames.append(checked.valid)
        groups.add_rows(checked.valid)
        tally.add(checked.tally)
    return pl.concat(frames, rechunk=True), tally


def _refuse_lost_rows(source: Surveyed, partition: Partition, tally: Tally) -> None:
    if tally.rows != partition.rows:
        raise SourceError(
            f"{source.name}: expected {partition.rows} rows from row {partition.first_row} on, "
            f"found {tally.rows}; it has changed since the survey, so submit a new job"
        )


def _write_part(workspace: Workspace, name: str, valid: pl.DataFrame) -> Written:
    # Into memory first: a full disk must show as an error of the file system, not of the Parquet writer.
    content = io.BytesIO()
    valid.write_parquet(content, compression="zstd", compression_level=COMPRESSION_LEVEL)
    return workspace.write(name, content.getvalue())
