"""Rules compiled for a source's columns: polars expressions for casting, checking and deriving.

Invariant: every expression looks at one row only. Compiling runs each one on an
empty frame of the source's columns, so an unknown column, a wrong type or a bad
pattern is told before any row is read.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .bounds import NOUNS, typed
from .casts import as_text, cast_of, has_bytes_inside, kind_of, text_of
from .errors import RulesError
from .expressions import compile_sql, first_line
from .rules import Column, Rules, Scalar

if TYPE_CHECKING:
    import polars as pl

    Schema = dict[str, pl.DataType]

TEXT = "\0text:"  # before a column's name: what it held before it was cast


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
    for name, kind in source_schema.items():
        if has_bytes_inside(kind):
            raise RulesError(
                f"columns.{name}: {kind} can't be quarantined; write the source without that column"
            )
    declared = {name: rules.columns.get(name) for name in source_schema}
    texts = [text_of(name, source_schema[name], column, rules) for name, column in declared.items()]
    frame = pl.DataFrame(schema=source_schema)
    frame = _tried("columns", lambda: frame.select(texts))
    kinds = frame.schema  # taken once: making it takes as long as there are columns
    casts = [cast_of(name, kinds[name], column) for name, column in declared.items()]
    frame = _tried("columns", lambda: with_types(frame, casts))
    kinds = frame.schema
    checks = [
        check for name, column in rules.columns.items() for check in _column_checks(name, column, kinds)
    ]
    _try_checks(checks, frame)
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


def _try_checks(checks: list[Check], frame: pl.DataFrame) -> None:
    """Run all checks on no rows; only where they fail one by one, to tell which it is."""
    import polars as pl

    try:
        frame.select(check.fails.alias(check.rule) for check in checks)
    except pl.exceptions.PolarsError:
        for check in checks:
            _tried(f"columns.{check.rule}", lambda check=check: frame.select(check.fails))  # type: ignore[misc]


def _column_checks(name: str, column: Column, kinds: Mapping[str, pl.DataType]) -> list[Check]:
    import polars as pl

    value, text, dtype = pl.col(name), pl.col(TEXT + name), kinds[name]
    kind = kind_of(column, dtype)
    checks: list[Check] = []

    def add(check: str, fails: pl.Expr, message: str) -> None:
        checks.append(Check(f"{name}.{check}", name, fails.fill_null(False), f"{_plain(name)}: {message}"))

    def bound(check: str, given: Scalar) -> pl.Expr:
        return pl.lit(typed(f"columns.{name}.{check}", kind, dtype, given)).cast(dtype)

    if column.type not in (None, "string"):
        add("type", value.is_null() & text.is_not_null(), f"expected {_noun(column)}, found '{{}}'")
    if column.required:
        add("required", text.is_null(), "expected a value, found none")
    if column.allowed is not None:
        values = [_allowed(name, kind, dtype, each) for each in column.allowed]
        allowed = pl.Series(values, dtype=dtype).implode()
        add("allowed", ~value.is_in(allowed), f"expected one of {_listed(column.allowed)}, found '{{}}'")
    if column.min is not None:
        add("min", value < bound("min", column.min), f"expected at least {_plain(column.min)}, found '{{}}'")
    if column.max is not None:
        _refuse_crossed(name, kind, dtype, column)
        add("max", value > bound("max", column.max), f"expected at most {_plain(column.max)}, found '{{}}'")
    if column.pattern is not None:
        matches = as_text(text, kinds[TEXT + name]).str.contains(f"^(?:{column.pattern})$")
        wanted = column.hint or f"text like {column.pattern}"
        add("pattern", ~matches, f"expected {_plain(wanted)}, found '{{}}'")
    return checks


def _allowed(name: str, kind: str, dtype: pl.DataType, value: Scalar) -> Any:
    """One of the values allowed; whole numbers may stand for their text."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    shown = str(value) if kind == "string" and is_whole else value
    return typed(f"columns.{name}.allowed", kind, dtype, shown)


def _refuse_crossed(name: str, kind: str, dtype: pl.DataType, column: Column) -> None:
    """Refuse a least value above the greatest one, which no value could satisfy."""
    if column.min is None or column.max is None:
        return
    least, most = (
        typed(f"columns.{name}.{check}", kind, dtype, getattr(column, check)) for check in ("min", "max")
    )
    if least > most:
        raise RulesError(
            f"columns.{name}: expected min up to max, found {least} and {most}; correct one of them"
        )


def _row_check(name: str, sql: str, message: str, frame: pl.DataFrame) -> Check:
    import polars as pl

    place = f"row_rules.{name}"
    if "." in name:
        raise RulesError(f"{place}: expected a name without a point, which column rules have; rename it")
    expression = _on_columns(place, sql, frame)
    if not expression.meta.root_names():
        raise RulesError(
            f"{place}: expected an expression on columns, found none of them in {sql!r}; name one"
        )
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


def _noun(column: Column) -> str:
    if column.type == "decimal":
        return f"a number with at most {column.scale} digits after the point"
    formats = f" like {_plain(' or '.join(column.formats))}" if column.type in ("date", "datetime") else ""
    return NOUNS[str(column.type)] + formats


def _nearest(name: str, columns: list[str]) -> str:
    near = difflib.get_close_matches(name, columns, 3)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has {', '.join(columns[:20])}"


def _listed(values: list[Scalar]) -> str:
    shown = ", ".join(str(value) for value in values[:8])
    return _plain(shown + (f" and {len(values) - 8} more" if len(values) > 8 else ""))


def _plain(text: object) -> str:
    """Text in which braces mean themselves."""
    return str(text).replace("{", "{{").replace("}", "}}")
