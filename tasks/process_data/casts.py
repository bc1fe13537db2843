"""A source's columns as text, and in the types that the rules ask for.

Invariant: nothing is rounded, cut or guessed on the way. What has no exact value of the type is
null, which ``compiled`` tells as invalid; what is no text is read as its text would be, so that
the verdict on a row is the same in CSV, JSON Lines and Parquet.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .rules import Column, Rules

if TYPE_CHECKING:
    import polars as pl

TRUE, FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
_ZONE = re.compile(r"%[:#]*z|%\+")


def kind_of(column: Column | None, dtype: pl.DataType) -> str:
    """What a column's values are, in the rules' words; "" for what they have no word for."""
    import polars as pl

    if column and column.type:
        return column.type
    if dtype.is_integer():
        return "integer"
    if dtype.is_float():
        return "number"
    words: list[tuple[Any, str]] = [
        (pl.String, "string"), (pl.Categorical, "string"), (pl.Enum, "string"), (pl.Boolean, "boolean"),
        (pl.Decimal, "decimal"), (pl.Date, "date"), (pl.Datetime, "datetime"),
    ]  # fmt: skip
    return next((word for known, word in words if dtype == known), "")


def text_of(name: str, dtype: pl.DataType, column: Column | None, rules: Rules) -> pl.Expr:
    """A column as read, white space trimmed and missing values null."""
    import polars as pl

    value = pl.col(name)
    missing = column.missing if column and column.missing is not None else rules.missing
    if dtype.is_numeric():
        return _without(value, dtype, missing).alias(name)
    if dtype not in (pl.String, pl.Categorical, pl.Enum):
        return value
    if column and column.trim:
        value = value.cast(pl.String).str.strip_chars()
    if not missing:
        return value
    text = value if dtype == pl.String else value.cast(pl.String)
    is_missing = text == missing[0] if len(missing) == 1 else text.is_in(missing)
    return pl.when(~is_missing).then(value).alias(name)


def cast_of(name: str, dtype: pl.DataType, column: Column | None) -> pl.Expr:
    """A column in its type, null where a value has none of that type."""
    import polars as pl

    value = pl.col(name)
    if column is None or column.type is None or (column.type == "string" and dtype == pl.String):
        return value
    exact = _exact(value, dtype, column)
    if exact is not None:
        return exact.alias(name)
    text = value if dtype == pl.String else as_text(value, dtype)
    return (text if column.type == "string" else _from_text(text, column)).alias(name)


def as_text(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Values as text, whatever they are."""
    import polars as pl

    if dtype == pl.Duration:
        return value.dt.to_string("iso")
    if dtype.is_nested():
        record = pl.struct(value.alias("v")).struct.json_encode()
        return pl.when(value.is_not_null()).then(record.str.strip_prefix('{"v":').str.strip_suffix("}"))
    return for_json(value, dtype).cast(pl.String)


def for_json(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Values that polars can write as JSON: bytes as hexadecimal digits."""
    import polars as pl

    return value.bin.encode("hex") if dtype == pl.Binary else value


def has_bytes_inside(dtype: Any) -> bool:
    """Whether it is a list or a record with bytes somewhere in it, which polars can't write as JSON."""
    import polars as pl

    if isinstance(dtype, pl.Struct):
        inner = [field.dtype for field in dtype.fields]
    else:
        inner = [dtype.inner] if isinstance(dtype, pl.List | pl.Array) else []
    return any(each == pl.Binary or has_bytes_inside(each) for each in inner)


def _without(value: pl.Expr, dtype: pl.DataType, missing: list[str]) -> pl.Expr:
    """Numbers but for those that are written like a missing value: -999, NaN."""
    import polars as pl

    numbers = [float(text) for text in missing if re.fullmatch(r"[+-]?\d+(\.\d*)?", text)]
    if numbers:
        value = pl.when(~value.cast(pl.Float64).is_in(numbers)).then(value)
    if dtype.is_float() and any(text.lower() == "nan" for text in missing):
        value = value.fill_nan(None)
    return value


def _exact(value: pl.Expr, dtype: pl.DataType, column: Column) -> pl.Expr | None:
    """A cast from a type that is no text, where there is one that loses nothing; None elsewhere."""
    import polars as pl

    wanted = column.type
    if wanted == "number" and dtype.is_numeric():
        return _finite(value.cast(pl.Float64, strict=False))
    if wanted == "integer" and dtype.is_numeric():
        return _same(value, value.cast(pl.Int64, strict=False), dtype)
    if wanted == "decimal" and (dtype.is_integer() or dtype == pl.Decimal):
        return _same(value, value.cast(pl.Decimal(38, column.scale), strict=False), dtype)
    if wanted == "date" and isinstance(dtype, pl.Datetime):
        return _same(value.dt.replace_time_zone(None), value.dt.date(), pl.Datetime(dtype.time_unit))
    if wanted == "datetime" and isinstance(dtype, pl.Datetime | pl.Date):
        return value.cast(pl.Datetime("us", getattr(dtype, "time_zone", None)), strict=False)
    return value if kind_of(None, dtype) == wanted and wanted != "string" else None


def _same(value: pl.Expr, cast: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    import polars as pl

    return pl.when(cast.cast(dtype, strict=False) == value).then(cast)


def _finite(number: pl.Expr) -> pl.Expr:
    import polars as pl

    return pl.when(number.is_finite()).then(number)


def _from_text(text: pl.Expr, column: Column) -> pl.Expr:
    import polars as pl

    if column.type == "integer":
        return text.cast(pl.Int64, strict=False)
    if column.type == "number":
        return _finite(text.cast(pl.Float64, strict=False))
    if column.type == "decimal":
        whole, scale = 38 - column.scale, column.scale
        digits = rf"[0-9]{{1,{whole}}}(?:\.[0-9]{{0,{scale}}})?"
        bare = rf"|\.[0-9]{{1,{scale}}}" if scale else ""
        fits = text.str.contains(rf"^[+-]?(?:{digits}{bare})$")
        return pl.when(fits).then(text).cast(pl.Decimal(38, scale), strict=False)
    if column.type == "boolean":
        return pl.when(text.is_in(_spelled(TRUE))).then(True).when(text.is_in(_spelled(FALSE))).then(False)
    # Formats are always named: guessing one from the rows at hand would depend on the cut.
    if column.type == "date":
        found = pl.coalesce([text.str.to_date(each, strict=False) for each in column.formats])
    else:
        found = _moments(text, column.formats)
    # Python, and with it JSON, has no other years.
    return pl.when(found.dt.year().is_between(1, 9999)).then(found)


def _moments(text: pl.Expr, formats: tuple[str, ...]) -> pl.Expr:
    """Dates and times; where a format has an offset, all are in UTC."""
    import polars as pl

    has_zone = any(_ZONE.search(each) for each in formats)
    # %z reads no Z, which is how most programs write UTC.
    tried = [each for one in formats for each in dict.fromkeys((one, one.replace("%z", "Z")))]
    found = []
    for each in tried:
        moment = text.str.to_datetime(each, strict=False, time_unit="us", ambiguous="null")
        is_naive = has_zone and not _ZONE.search(each)
        found.append(moment.dt.replace_time_zone("UTC") if is_naive else moment)
    return pl.coalesce(found)


def _spelled(words: tuple[str, ...]) -> list[str]:
    """Words in small letters, capitals, or with one capital: finding those beats lowering every value."""
    return sorted({spelling for word in words for spelling in (word, word.upper(), word.capitalize())})
