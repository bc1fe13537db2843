"""JSON Lines as frames: each value as the text it was written as, so that nothing is rounded.

A line that is no object with the known keys is a misfit and keeps its text.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .errors import SourceError
from .slices import ROW, Misfit, Slice
from .survey import Surveyed

if TYPE_CHECKING:
    from .records import Offsets


def from_json_lines(source: Surveyed, text: bytes, ends: Offsets, row: int, columns: list[str]) -> Slice:
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
