"""JSON Lines as frames: each value as the text it was written as, so that nothing is rounded.

A line that is no text, or no object with the known keys, is a misfit and keeps what it held.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .rules import each_once
from .slices import ROW, Misfit, Slice
from .unpacking import not_text, shown

if TYPE_CHECKING:
    from .records import Offsets


def from_json_lines(text: bytes, ends: Offsets, row: int, columns: list[str]) -> Slice:
    """Read whole lines, the first of which is row number ``row``."""
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
        except UnicodeDecodeError:
            misfits.append(Misfit(number, "row.encoding", not_text(line), {"text": shown(line)}))
            continue
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
        found = _loaded(text, str)
        if isinstance(found, dict) and any(isinstance(value, dict | list) for value in found.values()):
            found = _loaded(text, _Number)
    except (ValueError, RecursionError) as error:
        return {}, f"expected a JSON object, but it does not parse: {error}"
    if not isinstance(found, dict):
        return {}, f"expected a JSON object, found {type(found).__name__}"
    if not known.issuperset(found):
        extra = ", ".join(sorted(set(found) - known)).encode("utf-8", "backslashreplace").decode()
        return {}, f"expected only the keys of the first rows and the rules, found {extra} too"
    try:
        values = {key: _json_text(value) for key, value in found.items()}
    except RecursionError:
        return {}, "expected a JSON object, found one that is nested too deeply"
    if "\\ud" in text.lower():
        try:
            "".join(value or "" for value in values.values()).encode()
        except UnicodeEncodeError:
            return {}, "expected Unicode text, found half of a surrogate pair"
    return values, ""


class _Number(str):
    """A number as it was written: inside a list or an object it must not become text."""

    __slots__ = ()


def _loaded(text: str, number: type[str]) -> Any:
    options: dict[str, Any] = dict.fromkeys(("parse_int", "parse_float", "parse_constant"), number)
    return json.loads(text, object_pairs_hook=each_once, **options)


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value if value is None else str(value)
    return _written(value)


def _written(value: Any) -> str:
    """A JSON value as compact text, its numbers as they were."""
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_written(name)}:{_written(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
