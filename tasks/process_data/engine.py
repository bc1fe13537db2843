"""Check one slice of rows: the valid ones typed and derived, the others with every reason.

Pure: a slice in, a frame, counts and lines of the quarantine out. Invariant:
rows in = valid + set aside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .casts import as_text
from .compiled import TEXT, Compiled, with_types
from .errors import RulesError, SourceError
from .expressions import first_line
from .plain import plain
from .quarantine import Place, Suspects, note_suspects, quarantine_lines
from .slices import Slice
from .tally import Tally, smallest

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of a slice, but for the rows that were set aside."""

    valid: pl.DataFrame
    tally: Tally


def check(rows: Slice, compiled: Compiled, place: Place, set_aside: Callable[[bytes], None]) -> Checked:
    """Check a slice's rows against compiled rules.

    Arguments:
        set_aside: called with lines of the quarantine (JSON), in row order.
    Raises:
        RulesError: an expression failed on these rows.
    """
    import polars as pl

    texts = rows.frame.select(compiled.texts)
    typed = _derived(with_types(texts, compiled.casts), compiled, place)
    breaks = _broken(typed, compiled, place)
    tally = _counted(texts, breaks, compiled)
    valid, bad = typed.select(list(compiled.schema)), None
    is_bad = breaks.select(bad=pl.any_horizontal(pl.all()))["bad"] if tally.rules else None
    if is_bad is not None:
        valid = valid.filter(~is_bad)
        bad = Suspects(rows.frame.filter(is_bad), typed.filter(is_bad), breaks.filter(is_bad), compiled)
        _note_values(tally, bad.typed, bad.breaks, compiled)
    note_suspects(tally, bad, rows.misfits, place)
    _note_extremes(tally, valid)
    tally.rows = rows.frame.height + len(rows.misfits)
    tally.valid = valid.height
    tally.quarantined = (0 if bad is None else bad.rows.height) + len(rows.misfits)
    tally.sources = {place.source: [tally.rows, tally.quarantined]}
    if tally.rows != tally.valid + tally.quarantined:
        raise SourceError(
            f"{place.source}: {tally.rows} rows went in, {tally.valid} + {tally.quarantined} "
            "came out; report this"
        )
    for lines in quarantine_lines(bad, rows.misfits, place):
        set_aside(lines)
    return Checked(valid, tally)


def _derived(typed: pl.DataFrame, compiled: Compiled, place: Place) -> pl.DataFrame:
    import polars as pl

    for name, expression in compiled.derived:
        try:
            typed = typed.with_columns(expression)
        except pl.exceptions.PolarsError as error:
            raise _failed(f"derived.{name}", place, error) from None
    return typed


def _broken(typed: pl.DataFrame, compiled: Compiled, place: Place) -> pl.DataFrame:
    import polars as pl

    try:
        return typed.select(check.fails.alias(check.rule) for check in compiled.checks)
    except pl.exceptions.PolarsError as error:
        raise _failed("row_rules", place, error) from None


def _failed(rule: str, place: Place, error: Exception) -> RulesError:
    return RulesError(
        f"{rule}: failed on rows of {place.source}: {first_line(error)}; "
        "use TRY_CAST instead of CAST, or COALESCE"
    )


def _counted(texts: pl.DataFrame, breaks: pl.DataFrame, compiled: Compiled) -> Tally:
    import polars as pl

    tally = Tally()
    if breaks.width:
        tally.rules = {rule: count for rule, count in breaks.sum().row(0, named=True).items() if count}
    tally.missing = texts.null_count().row(0, named=True)
    by_column: dict[str, list[str]] = {}
    for each in compiled.checks:
        if each.column and each.rule in tally.rules:
            by_column.setdefault(each.column, []).append(each.rule)
    if by_column:
        invalid = breaks.select(
            pl.any_horizontal(rules).sum().alias(column) for column, rules in by_column.items()
        )
        tally.invalid = invalid.row(0, named=True)
    return tally


def _note_values(tally: Tally, typed: pl.DataFrame, breaks: pl.DataFrame, compiled: Compiled) -> None:
    import polars as pl

    for each in compiled.checks:
        if each.column and each.rule in tally.rules and not each.rule.endswith(".required"):
            broken = typed[TEXT + each.column].filter(breaks[each.rule])
            values = broken.to_frame("found").select(as_text(pl.col("found"), broken.dtype))["found"]
            tally.found[each.rule] = smallest(dict(values.value_counts().iter_rows()))


def _note_extremes(tally: Tally, valid: pl.DataFrame) -> None:
    import polars as pl

    ranged = [
        (name, kind)
        for name, kind in valid.schema.items()
        if kind.is_integer() or kind.is_float() or isinstance(kind, pl.Date | pl.Datetime)
    ]
    if not ranged or not valid.height:
        return
    shown = valid.select(plain(pl.col(name), kind).alias(name) for name, kind in ranged)
    least, greatest = shown.min().row(0, named=True), shown.max().row(0, named=True)
    for name, _ in ranged:
        tally.extremes[name] = [_json_value(least[name]), _json_value(greatest[name])]


def _json_value(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
