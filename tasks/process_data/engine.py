"""Check one slice of rows: the valid ones typed and derived, the others with every reason.

Pure: frames in, frames, bytes and counts out. Invariant: rows in = valid + set
aside, and each set-aside row carries all the rules it breaks.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.process_data.compiled import TEXT, Check, Compiled, with_types
from tasks.process_data.errors import RulesError, SourceError
from tasks.process_data.expressions import first_line
from tasks.process_data.frames import ROW, Misfit, Slice
from tasks.process_data.tally import BUCKETS, EXAMPLES, FIRST_ROWS, Tally, smallest

if TYPE_CHECKING:
    import polars as pl

SHOWN_CHARACTERS = 80  # of a value found, in a reason
_RANGED = ("integer", "number", "date", "datetime")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a slice lies."""

    source: str
    rows_before: int  # rows of the sources before this one
    rows_in_all: int


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of a slice."""

    valid: pl.DataFrame
    quarantine: bytes  # JSON Lines, in row order
    tally: Tally


def check(rows: Slice, compiled: Compiled, place: Place) -> Checked:
    """Check a slice's rows against compiled rules.

    Raises:
        RulesError: an expression failed on these rows.
    """
    import polars as pl

    original = rows.frame.select(compiled.columns)
    texts = original.select(compiled.texts)
    typed = _derived(with_types(texts, compiled.casts), compiled, place)
    breaks = _broken(typed, compiled, place)
    is_bad = breaks.select(bad=pl.any_horizontal(pl.all()))["bad"] if breaks.width else None
    tally = _counted(texts, breaks, compiled)
    valid, bad = typed.select(list(compiled.schema)), None
    if is_bad is not None and is_bad.any():
        valid = valid.filter(~is_bad)
        suspects, reasons = typed.filter(is_bad), breaks.filter(is_bad)
        bad = _reasons(rows.frame.filter(is_bad), suspects, reasons, compiled)
        _note_values(tally, suspects, reasons, compiled)
    _note_examples(tally, bad, rows.misfits, place)
    _note_extremes(tally, valid)
    tally.rows = rows.frame.height + len(rows.misfits)
    tally.valid = valid.height
    tally.quarantined = (0 if bad is None else bad.height) + len(rows.misfits)
    tally.sources = {place.source: [tally.rows, tally.quarantined]}
    if tally.rows != tally.valid + tally.quarantined:
        raise SourceError(
            f"{place.source}: {tally.rows} rows went in, {tally.valid} + {tally.quarantined} "
            "came out; report this"
        )
    return Checked(valid, _quarantine(bad, rows.misfits, place), tally)


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
    for column, rules in by_column.items():
        tally.invalid[column] = int(breaks.select(pl.any_horizontal(rules).sum()).item())
    return tally


def _reasons(
    rows: pl.DataFrame, typed: pl.DataFrame, breaks: pl.DataFrame, compiled: Compiled
) -> pl.DataFrame:
    """One line of the quarantine for each invalid row, but for its source."""
    import polars as pl

    broken = [each for each in compiled.checks if breaks[each.rule].any()]
    marks = typed.with_columns(breaks.select(pl.all().name.prefix("\0breaks:")))
    rules = [pl.when(pl.col("\0breaks:" + each.rule)).then(pl.lit(each.rule)) for each in broken]
    reasons = [pl.when(pl.col("\0breaks:" + each.rule)).then(_message(each)) for each in broken]
    told = marks.select(
        rules=pl.concat_list(rules).list.drop_nulls(), reasons=pl.concat_list(reasons).list.drop_nulls()
    )
    original = rows.select(compiled.columns)
    binary = [name for name, kind in original.schema.items() if kind == pl.Binary]
    values = original.with_columns(pl.col(binary).bin.encode("hex")) if binary else original
    return told.with_columns(row=rows[ROW], values=values.to_struct("values"))


def _message(each: Check) -> pl.Expr:
    import polars as pl

    if not each.column:
        return pl.lit(_bare(each.message))
    shown = pl.col(TEXT + each.column).cast(pl.String).str.head(SHOWN_CHARACTERS).fill_null("nothing")
    before, mark, after = each.message.partition("'{}'")
    if not mark:
        return pl.lit(_bare(before))
    return pl.concat_str(pl.lit(_bare(before) + "'"), shown, pl.lit("'" + _bare(after)))


def _bare(message: str) -> str:
    return message.replace("{{", "{").replace("}}", "}")


def _note_values(tally: Tally, typed: pl.DataFrame, breaks: pl.DataFrame, compiled: Compiled) -> None:
    import polars as pl

    for each in compiled.checks:
        if each.column and each.rule in tally.rules and not each.rule.endswith(".required"):
            values = typed[TEXT + each.column].filter(breaks[each.rule]).cast(pl.String)
            tally.found[each.rule] = smallest(dict(values.value_counts().iter_rows()))


def _note_examples(tally: Tally, bad: pl.DataFrame | None, misfits: list[Misfit], place: Place) -> None:
    """The first rows, the first ones of each rule, and where invalid rows lie."""
    for misfit in misfits:
        tally.rules[misfit.rule] = tally.rules.get(misfit.rule, 0) + 1
        tally.places[_bucket(misfit.row, place)] += 1
    odd = [_example(place, each.row, [each.rule], [each.reason]) for each in misfits]
    rows = [] if bad is None else _examples(bad, place)
    if bad is not None:
        for bucket, count in _buckets(bad["row"], place):
            tally.places[bucket] += count
    merged = sorted([*odd, *rows], key=lambda each: each["row"])
    tally.first_rows = [{k: v for k, v in each.items() if k != "rules"} for each in merged[:FIRST_ROWS]]
    for each in merged:
        for rule, reason in zip(each["rules"], each["reasons"], strict=True):
            known = tally.examples.setdefault(rule, [])
            if len(known) < EXAMPLES:
                known.append({"source": place.source, "row": each["row"], "reason": reason})


def _examples(bad: pl.DataFrame, place: Place) -> list[dict[str, Any]]:
    """The first invalid rows, and the first ones of each rule."""
    import polars as pl

    first = bad.select(pl.int_range(pl.len()).alias("at"), "rules").explode("rules")
    wanted = first.group_by("rules").agg(pl.col("at").head(EXAMPLES))["at"].explode().to_list()
    wanted = sorted({*wanted, *range(min(FIRST_ROWS, bad.height))})
    return [_example(place, *line) for line in bad.select("row", "rules", "reasons")[wanted].iter_rows()]


def _example(place: Place, row: int, rules: list[str], reasons: list[str]) -> dict[str, Any]:
    return {"source": place.source, "row": row, "rules": rules, "reasons": reasons}


def _bucket(row: int, place: Place) -> int:
    return (place.rows_before + row - 1) * BUCKETS // place.rows_in_all


def _buckets(rows: pl.Series, place: Place) -> Iterable[tuple[int, int]]:
    at = (rows + (place.rows_before - 1)) * BUCKETS // place.rows_in_all
    return at.value_counts().iter_rows()


def _note_extremes(tally: Tally, valid: pl.DataFrame) -> None:
    import polars as pl
    import polars.selectors as cs

    ranged = valid.select(cs.integer() | cs.float() | cs.temporal())
    if not ranged.width or not valid.height:
        return
    least, greatest = ranged.min().row(0, named=True), ranged.max().row(0, named=True)
    for name in ranged.columns:
        if ranged.schema[name] not in (pl.Duration, pl.Time):
            tally.extremes[name] = [_json_value(least[name]), _json_value(greatest[name])]


def _json_value(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def _quarantine(bad: pl.DataFrame | None, misfits: list[Misfit], place: Place) -> bytes:
    """The set-aside rows as JSON Lines, in row order."""
    import polars as pl

    told = io.BytesIO()
    if bad is not None:
        source = pl.lit(place.source).alias("source")
        bad.select(source, "row", "rules", "reasons", "values").write_ndjson(told)
    if not misfits:
        return told.getvalue()
    rows = [] if bad is None else bad["row"].to_list()
    lines = dict(zip(rows, told.getvalue().splitlines(keepends=True), strict=True))
    for each in misfits:
        why = {"rules": [each.rule], "reasons": [each.reason]}
        line = {"source": place.source, "row": each.row, **why, **each.original}
        lines[each.row] = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    return b"".join(lines[row] for row in sorted(lines))
