"""The checks before any work: pure looks at the world that answer with reasons.

Each takes the request's parameters and returns None when all is well. They
share no state and change nothing, so they run side by side and again at will.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .clean import source_schema
from .compiled import compile_rules
from .errors import RulesError, SourceError
from .layout import layout_of, one_layout
from .params import ProcessData
from .publish import foreign_content
from .rules import Rules, load_rules
from .sources import Source, find_sources
from .summary import compile_summary
from .survey import Surveyed


def readable(params: ProcessData) -> list[str] | None:
    """Every source is there and its head can be read."""
    try:
        sources = find_sources(params)
    except SourceError as error:
        return [str(error)]
    faults = []
    for source in sources:
        try:
            layout_of(source)
        except SourceError as error:
            faults.append(str(error))
    return faults or None


def rules_compile(params: ProcessData) -> list[str] | None:
    """The rules parse, and each one works on the source's columns."""
    try:
        rules = load_rules(params.rules)
    except RulesError as error:
        return [str(error)]
    try:
        sources = find_sources(params)
        columns = one_layout(sources)
    except SourceError:
        return None  # ``readable`` and ``columns_present`` tell.
    if set(rules.columns) - set(columns):
        return None  # ``columns_present`` tells.
    try:
        compiled = compile_rules(rules, source_schema(_as_surveyed(sources[0], columns), columns))
        compile_summary(rules, compiled.schema)
    except RulesError as error:
        return [str(error)]
    return None


def columns_present(params: ProcessData) -> list[str] | None:
    """All sources have the same columns, and the rules name no others."""
    try:
        rules = load_rules(params.rules)
        sources = find_sources(params)
        for source in sources:
            layout_of(source)
    except (RulesError, SourceError):
        return None  # ``readable`` and ``rules_compile`` tell.
    try:
        columns = one_layout(sources)
    except SourceError as error:
        return [str(error)]
    if sources[0].format == "jsonl":
        return None  # An object may leave any key out.
    return _absent(rules, columns, sources[0]) or None


def destination_free(params: ProcessData) -> list[str] | None:
    """The destination can be written, and holds nobody's output."""
    destination = Path(params.destination)
    found = foreign_content(destination)
    if found:
        return [f"{destination}: expected a missing or empty folder, found {found}; name another destination"]
    folder = next(each for each in (destination, *destination.parents) if each.exists())
    try:
        # Asking for the right to write is not enough: only writing tells of a read-only disk.
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".batuta-probe-") as probe:
            probe.write(b"probe")
    except OSError as error:
        why = (error.strerror or os.strerror(error.errno or 0)).lower()
        return [
            f"{destination}: expected a folder that can be written, but {why} ({folder}); "
            "name another destination"
        ]
    return None


def _absent(rules: Rules, columns: list[str], source: Source) -> list[str]:
    import difflib

    faults = []
    for name in rules.columns:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, 3)
            advice = (
                f"did you mean {' or '.join(map(repr, near))}?"
                if near
                else f"it has {', '.join(columns[:20])}"
            )
            faults.append(
                f"{source.name}: expected the column {name!r} that the rules name, found none; {advice}"
            )
    if len(columns) == 1 and rules.columns and faults:
        faults.append(f"{source.name}: found one column only; {_delimiter_advice(columns[0], source)}")
    return faults


def _delimiter_advice(header: str, source: Source) -> str:
    likely = max(";\t|,", key=header.count)
    if likely in header and likely != source.delimiter:
        shown = r"\t" if likely == "\t" else likely
        return f"name its delimiter: -p delimiter='{shown}'"
    return f"is {source.delimiter!r} its delimiter?"


def _as_surveyed(source: Source, columns: list[str]) -> Surveyed:
    return Surveyed(source.name, source.place, source.format, source.delimiter, columns, 0, 0, [])
