"""The values that rules name (least, greatest, allowed) in the type of their column.

Pure. A value that the column can never hold, or that would have to be rounded, is refused:
a rule that means something else than it says gives wrong verdicts in silence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from .casts import FALSE, TRUE
from .errors import RulesError
from .rules import Scalar

if TYPE_CHECKING:
    import polars as pl

NOUNS = {
    "string": "text", "integer": "an integer of at most 64 bits", "number": "a number",
    "boolean": "true or false", "date": "a date", "datetime": "a date and time",
}  # fmt: skip
_WORDS = {**dict.fromkeys(TRUE, True), **dict.fromkeys(FALSE, False)}


def typed(place: str, kind: str, dtype: pl.DataType, value: Scalar) -> Any:
    """A value of the rules in its column's type.

    Arguments:
        place: where in the rules it stands, for the message.
        kind: what the column is, in the rules' words.
    Raises:
        RulesError: it is none, or none that fits.
    """
    import polars as pl

    if not kind:
        raise RulesError(f"{place}: a column of {dtype} has no such values; take it out")
    try:
        read = _READERS[kind](value, dtype)
        pl.Series([read], dtype=dtype)  # refuses what is too large
        return read
    except (ValueError, KeyError, InvalidOperation, TypeError, OverflowError, pl.exceptions.PolarsError):
        advice = "give the column a type" if kind == "string" else "correct it"
        raise RulesError(f"{place}: expected {_noun(kind, dtype)}, found {value!r}; {advice}") from None


def _noun(kind: str, dtype: Any) -> str:
    if kind == "decimal":
        return f"a number with at most {dtype.scale} digits after the point"
    if kind == "datetime" and not dtype.time_zone:
        return "a date and time without an offset"
    return NOUNS[kind]


def _text(value: Scalar, _: Any) -> str:
    # A number compared as text: "9" would be more than "10".
    if not isinstance(value, str):
        raise ValueError
    return value


def _integer(value: Scalar, _: Any) -> int:
    read = int(value)
    if read != value and str(read) != str(value):
        raise ValueError
    return read


def _number(value: Scalar, _: Any) -> float:
    read = float(value)
    if not math.isfinite(read):
        raise ValueError
    return read


def _decimal(value: Scalar, dtype: Any) -> Decimal:
    read = Decimal(str(value))
    if not read.is_finite() or read != round(read, dtype.scale):
        raise ValueError
    return read


def _moment(value: Scalar, dtype: Any) -> datetime:
    read = datetime.fromisoformat(str(value))
    if dtype.time_zone:
        return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    if read.tzinfo:
        raise ValueError
    return read


_READERS: dict[str, Callable[[Any, Any], Any]] = {
    "string": _text,
    "integer": _integer,
    "number": _number,
    "decimal": _decimal,
    "boolean": lambda value, _: _WORDS[str(value).lower()],
    "date": lambda value, _: date.fromisoformat(str(value)),
    "datetime": _moment,
}
