"""Rules compiled for a source's columns: polars expressions for casting, checking and deriving.

Invariant: every expression looks at one row only. Compiling runs each one on an
empty frame of the source's columns, so an unknown column, a wrong type or a bad
pattern is told before any row is read.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from .errors import RulesError
from .expressions import compile_sql, first_line
from .rules import Column, Rules, Scalar

if TYPE_CHECKING:
    import polars as pl

    Schema = dict[str, pl.DataType]

TRUE, FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
_WORDS = {**dict.fromkeys(TRUE, True), **dict.fromkeys(FALSE, False)}
TEXT = "\0text:"  # before a column's name: what it held before it was cast
_NOUNS = {
    "string": "text", "integer": "an integer", "number": "a number", "decimal": "a decimal number",
    "boolean": "true or false", "date": "a date", "datetime": "a date and time",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Check:
    """One reason for which a row can be invalid."""

    rule: str  # its name in counts: column.check, or the row rule's own
    column: str  # "" for a rule between columns
    fails: pl.Expr  # true for rows that break it, never null
    message: str  # "{}" stands for what was found


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the engine runs."""

    columns: list[str]  # the source's, in the output's order
    texts: list[pl.Expr]  # each column with white space trimmed and missing values null
    casts: list[pl.Expr]  # each column in its type, null where it can't be
    derived: list[tuple[str, pl.Expr]]
    checks: list[Check]
    schema: dict[str, pl.DataType] = field(default_factory=dict)  # of the valid rows


def compile_rules(rules: Rules, source_schema: Schema) -> Compiled:
    """Compile rules for a source.

    Arguments:
        source_schema: the source's columns and types; text for CSV and JSON Lines.
    Raises:
        RulesError: a rule names a column that isn't there, or can't work on its column.
    """
    import polars as pl

    for name in rules.columns:
        if name not in source_schema:
            near = _nearest(name, list(source_schema))
            raise RulesError(f"columns.{name}: the source has no such column; {near}")
    declared = {name: rules.columns.get(name) for name in source_schema}
    texts = [_text(name, source_schema[name], column, rules) for name, column in declared.items()]
    casts = [_cast(name, source_schema[name], column) for name, column in declared.items()]
    frame = pl.DataFrame(schema=source_schema)
    frame = _tried("columns", lambda: with_types(frame.select(texts), casts))
    checks = [
        check for name, column in rules.columns.items() for check in _column_checks(name, column, frame)
    ]
    for check in checks:
        _tried(f"columns.{check.rule}", lambda check=check: frame.select(check.fails))  # type: ignore[misc]
    derived: list[tuple[str, pl.Expr]] = []
    for name, sql in rules.derived.items():
        place = f"derived.{name}"
        if name in frame.columns:
            raise RulesError(f"{place}: the source has a column of that name; choose another name")
        expression = _on_columns(place, sql, frame).alias(name)
        derived.append((name, expression))
        frame = _tried(place, lambda frame=frame, expression=expression: frame.with_columns(expression))  # type: ignore[misc]
    checks += [_row_check(name, rule.sql, rule.message, frame) for name, rule in rules.row_rules.items()]
    schema = {name: kind for name, kind in frame.schema.items() if not name.startswith(TEXT)}
    return Compiled(list(source_schema), texts, casts, derived, checks, schema)


def with_types(texts: pl.DataFrame, casts: list[pl.Expr]) -> pl.DataFrame:
    """Columns in their types, and beside each one what it held as text, for messages."""
    import polars as pl

    return texts.select(*casts, pl.all().name.prefix(TEXT))


def _text(name: str, kind: pl.DataType, column: Column | None, rules: Rules) -> pl.Expr:
    import polars as pl

    expression = pl.col(name)
    if kind != pl.String:
        return expression
    if column and column.trim:
        expression = expression.str.strip_chars()
    missing = column.missing if column and column.missing is not None else rules.missing
    if not missing:
        return expression
    is_missing = expression == missing[0] if len(missing) == 1 else expression.is_in(missing)
    return pl.when(~is_missing).then(expression).alias(name)


def _cast(name: str, kind: pl.DataType, column: Column | None) -> pl.Expr:
    import polars as pl

    value, wanted = pl.col(name), column.type if column else ""
    if not column or (wanted == "string" and kind == pl.String):
        return value
    if wanted == "string":
        return value.cast(pl.String)
    if wanted == "number":
        number = value.cast(pl.Float64, strict=False)
        return pl.when(number.is_finite()).then(number).alias(name)
    if kind != pl.String:
        kinds = {
            "integer": pl.Int64(), "decimal": pl.Decimal(38, column.scale), "boolean": pl.Boolean(),
            "date": pl.Date(), "datetime": pl.Datetime("us"),
        }  # fmt: skip
        return value.cast(kinds[wanted], strict=False)
    return _from_text(value, column).alias(name)


def _from_text(value: pl.Expr, column: Column) -> pl.Expr:
    import polars as pl

    if column.type == "integer":
        return value.cast(pl.Int64, strict=False)
    if column.type == "decimal":
        whole = 38 - column.scale
        fits = value.str.contains(rf"^[+-]?[0-9]{{1,{whole}}}(?:\.[0-9]{{0,{column.scale}}})?$")
        return pl.when(fits).then(value).cast(pl.Decimal(38, column.scale), strict=False)
    if column.type == "boolean":
        return pl.when(value.is_in(_spelled(TRUE))).then(True).when(value.is_in(_spelled(FALSE))).then(False)
    # Formats are always named: guessing one from the rows at hand would depend on the cut.
    if column.type == "date":
        return pl.coalesce([value.str.to_date(each, strict=False) for each in column.formats])
    options: dict[str, Any] = {"strict": False, "time_unit": "us", "ambiguous": "null"}
    return pl.coalesce([value.str.to_datetime(each, **options) for each in column.formats])


def _spelled(words: tuple[str, ...]) -> list[str]:
    """Words in small letters, capitals, or with one capital: finding those beats lowering every value."""
    return sorted({spelling for word in words for spelling in (word, word.upper(), word.capitalize())})


def _column_checks(name: str, column: Column, typed: pl.DataFrame) -> list[Check]:
    import polars as pl

    value, text = pl.col(name), pl.col(TEXT + name)
    checks: list[Check] = []

    def add(check: str, fails: pl.Expr, message: str) -> None:
        checks.append(Check(f"{name}.{check}", name, fails.fill_null(False), f"{_plain(name)}: {message}"))

    if column.type != "string":
        add("type", value.is_null() & text.is_not_null(), f"expected {_noun(column)}, found '{{}}'")
    if column.required:
        add("required", text.is_null(), "expected a value, found none")
    if column.allowed is not None:
        values = [_typed(name, "allowed", column, each) for each in column.allowed]
        allowed = pl.Series(values, dtype=typed.schema[name]).implode()
        add("allowed", ~value.is_in(allowed), f"expected one of {_listed(column.allowed)}, found '{{}}'")
    if column.min is not None:
        least = pl.lit(_typed(name, "min", column, column.min)).cast(typed.schema[name])
        add("min", value < least, f"expected at least {_plain(column.min)}, found '{{}}'")
    if column.max is not None:
        greatest = pl.lit(_typed(name, "max", column, column.max)).cast(typed.schema[name])
        add("max", value > greatest, f"expected at most {_plain(column.max)}, found '{{}}'")
    if column.pattern is not None:
        matches = text.cast(pl.String).str.contains(f"^(?:{column.pattern})$")
        wanted = column.hint or f"text like {column.pattern}"
        add("pattern", ~matches, f"expected {_plain(wanted)}, found '{{}}'")
    return checks


def _row_check(name: str, sql: str, message: str, frame: pl.DataFrame) -> Check:
    import polars as pl

    place = f"row_rules.{name}"
    if "." in name:
        raise RulesError(f"{place}: expected a name without a point, which column rules have; rename it")
    expression = _on_columns(place, sql, frame)
    found = _tried(place, lambda: frame.select(expression)).dtypes[0]
    if found != pl.Boolean:
        raise RulesError(
            f"{place}: expected an expression that is true or false, found {found} in {sql!r}; compare it"
        )
    return Check(name, "", ~expression.fill_null(True), _plain(message or f"expected {sql}"))


def _on_columns(place: str, sql: str, frame: pl.DataFrame) -> pl.Expr:
    """Compile SQL that may name a frame's columns, and no others."""
    expression = compile_sql(place, sql)
    columns = [name for name in frame.columns if not name.startswith(TEXT)]
    for name in expression.meta.root_names():
        if name not in columns:
            raise RulesError(f"{place}: there is no column {name!r} in {sql!r}; {_nearest(name, columns)}")
    return expression


def _tried(place: str, run: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    try:
        return run()
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise RulesError(f"{place}: can't work on these columns: {first_line(error)}; correct it") from None


def _typed(name: str, check: str, column: Column, value: Scalar) -> Any:
    """A bound or an allowed value in the column's type."""
    readers: dict[str, Callable[[Any], Any]] = {
        "string": str, "integer": int, "number": float, "decimal": lambda found: Decimal(str(found)),
        "boolean": lambda found: _WORDS[str(found).lower()],
        "date": lambda found: date.fromisoformat(str(found)),
        "datetime": lambda found: datetime.fromisoformat(str(found)),
    }  # fmt: skip
    try:
        read = readers[column.type](value)
        if column.type == "integer" and read != value and str(read) != str(value):
            raise ValueError
        return read
    except (ValueError, KeyError, InvalidOperation):
        wanted = _NOUNS[column.type]
        raise RulesError(f"columns.{name}.{check}: expected {wanted}, found {value!r}; correct it") from None


def _noun(column: Column) -> str:
    if column.type in ("date", "datetime"):
        return f"{_NOUNS[column.type]} like {_plain(' or '.join(column.formats))}"
    if column.type == "decimal":
        return f"a number with at most {column.scale} digits after the point"
    return _NOUNS[column.type]


def _nearest(name: str, columns: list[str]) -> str:
    near = difflib.get_close_matches(name, columns, 3)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has {', '.join(columns[:20])}"


def _listed(values: list[Scalar]) -> str:
    shown = ", ".join(str(value) for value in values[:8])
    return _plain(shown + (f" and {len(values) - 8} more" if len(values) > 8 else ""))


def _plain(text: object) -> str:
    """Text in which braces mean themselves."""
    return str(text).replace("{", "{{").replace("}", "}}")
