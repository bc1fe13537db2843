"""What columns a source has, told from its head: a CSV header, the first JSON objects, a Parquet schema.

Invariant: all sources of one request have the same columns, in any order; the
first one's order is the output's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from . import records
from .errors import SourceError
from .sources import Source, open_source
from .unpacking import not_text, plain_blocks

HEAD_BYTES = 1024 * 1024
BOM = b"\xef\xbb\xbf"
#: A line before the header that tells spreadsheets, which write it too, what separates fields.
_SEPARATOR = re.compile(rb'"?sep=([^\w"\r\n\0\x80-\xff])"?\r?\n', re.IGNORECASE)
#: How what is no such text begins, and what it is.
_MARKS = {
    b"\xff\xfe\0\0": "text in UTF-32; name its encoding: -p encoding=utf-32",
    b"\xff\xfe": "text in UTF-16; name its encoding: -p encoding=utf-16",
    b"\xfe\xff": "text in UTF-16; name its encoding: -p encoding=utf-16",
    b"PK\x03\x04": "a ZIP archive or a spreadsheet; unpack it, or export it as CSV",
    b"PAR1": "Parquet; name its format: -p format=parquet",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """A source's columns and where its rows start."""

    columns: list[str]
    start: int = 0  # bytes before the first row
    delimiter: str = ""  # of CSV: what the file itself says, or the source's


def layout_of(source: Source) -> Layout:
    """Look at the head of a source.

    Raises:
        SourceError: it is empty, can't be read, or names a column twice.
    """
    if source.format == "parquet":
        return _usable(source, _parquet_layout(source))
    head = _head(source)
    text = head.removeprefix(BOM)
    if not text.strip():
        raise SourceError(
            f"{source.name}: expected {_expected(source)}, found an empty file; check what wrote it"
        )
    for mark, found in _MARKS.items():
        if text.startswith(mark):
            raise SourceError(f"{source.name}: expected {_expected(source)}, found {found}")
    read = _csv_layout if source.format == "csv" else _jsonl_layout
    return _usable(source, read(source, head, text))


def _usable(source: Source, layout: Layout) -> Layout:
    for name in layout.columns:
        if "\0" in name:
            raise SourceError(
                f"{source.name}: expected text, found a NUL character in the column's name {name!r}; "
                "is it UTF-16? Then: -p encoding=utf-16-le"
            )
        if name == "*" or (name.startswith("^") and name.endswith("$")):
            # To polars these stand for several columns.
            raise SourceError(f"{source.name}: a column can't be called {name!r}; rename it")
    return layout


def one_layout(sources: list[Source]) -> list[str]:
    """The columns that all the sources share, in the first one's order.

    Raises:
        SourceError: a source lacks a column of the first one, or has one more.
    """
    first = layout_of(sources[0]).columns
    if sources[0].format == "jsonl":
        return list(dict.fromkeys(column for source in sources for column in layout_of(source).columns))
    for source in sources[1:]:
        columns = layout_of(source).columns
        for column in first:
            if column not in columns:
                raise SourceError(
                    f"{source.name}: expected the column {column!r} of {sources[0].name}, "
                    "found none; run them apart"
                )
        for column in columns:
            if column not in first:
                raise SourceError(
                    f"{source.name}: column {column!r} is not in {sources[0].name}; "
                    "give both the same columns or run them apart"
                )
    return first


def _head(source: Source) -> bytes:
    found = bytearray()
    for block in plain_blocks(source):
        found += block
        if len(found) >= HEAD_BYTES:
            break
    return bytes(found)


def _csv_layout(source: Source, head: bytes, text: bytes) -> Layout:
    told = _SEPARATOR.match(text)
    delimiter = told[1].decode() if told else source.delimiter
    text = text[told.end() :] if told else text
    found = records.scan(text, delimiter, is_last=len(head) < HEAD_BYTES)
    if found.is_open and not len(found.ends):
        raise SourceError(
            f"{source.name}: expected a header, but its first record has an unclosed quote; close it"
        )
    if not len(found.ends):
        raise SourceError(
            f"{source.name}: expected a header line, found no line end in the first "
            f"{len(head)} bytes; is it CSV?"
        )
    end = int(found.ends[0])
    if b"\r" in text[:end].rstrip(b"\r\n") and b'"' not in text[:end]:
        raise SourceError(
            f"{source.name}: expected lines that end with LF or CRLF, found CR alone in the header; "
            "convert it, for example with mac2unix"
        )
    try:
        names = [
            name.decode("utf-8").strip() for name in records.fields(text[:end].lstrip(b"\r\n"), delimiter)
        ]
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{source.name}: header: {not_text(error.object)}; name it, such as -p encoding=cp1252"
        ) from None
    # Spreadsheets and data frames leave the name of an index column empty.
    names = [name or f"column_{number}" for number, name in enumerate(names, 1)]
    _refuse_twice(source, names)
    return Layout(names, len(head) - len(text) + end, delimiter)


def _refuse_twice(source: Source, names: list[str]) -> None:
    for number, name in enumerate(names, 1):
        if name in names[: number - 1]:
            first = names.index(name) + 1
            raise SourceError(
                f"{source.name}: expected each column once, found {name!r} as column {first} "
                f"and {number}; rename one"
            )


def _jsonl_layout(source: Source, head: bytes, text: bytes) -> Layout:
    if text.lstrip().startswith(b"["):
        raise SourceError(
            f"{source.name}: expected one JSON object a line, found a list; "
            "write its objects one a line, for example with jq -c '.[]'"
        )
    lines = text.split(b"\n")
    if len(head) >= HEAD_BYTES and len(lines) > 1:
        lines.pop()  # It may be cut.
    columns: dict[str, None] = {}
    for line in lines:
        try:
            found = json.loads(line, parse_int=str) if line.strip() else {}
        except (ValueError, RecursionError):
            continue  # A row that is no JSON is set aside when it is checked.
        if isinstance(found, dict):
            columns.update((name, None) for name in found if not _has_half_letter(name))
    if not columns:
        raise SourceError(
            f"{source.name}: expected one JSON object a line, found none at its start; is it JSON Lines?"
        )
    return Layout(list(columns), len(head) - len(text))


def _has_half_letter(name: str) -> bool:
    """Whether half of a surrogate pair is in it: JSON can say that, and no text can hold it."""
    return any("\ud800" <= letter <= "\udfff" for letter in name)


def _parquet_layout(source: Source) -> Layout:
    import polars as pl

    with open_source(source.place) as file:
        try:
            return Layout(list(pl.read_parquet_schema(file)))
        except (pl.exceptions.PolarsError, OSError, ValueError) as error:
            raise SourceError(
                f"{source.name}: expected Parquet, but it can't be read: {error}; get a whole copy"
            ) from None


def _expected(source: Source) -> str:
    return "a header and rows" if source.format == "csv" else "one JSON object a line"
