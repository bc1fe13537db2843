"""Rows that are set aside: why, in words, and as lines of the quarantine.

Invariant: a row's line depends on that row alone, and lines come in row order,
so the quarantine's content doesn't depend on how the input was cut. Reasons are
worded for a bounded number of rows at a time.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .casts import as_text, for_json
from .compiled import TEXT, Check, Compiled
from .slices import ROW, Misfit
from .tally import BUCKETS, EXAMPLES, FIRST_ROWS, Tally

if TYPE_CHECKING:
    import polars as pl

BATCH_ROWS = 20_000
_BREAKS = "\0breaks:"
SHOWN_CHARACTERS = 80  # of a value found, in a reason


@dataclass(frozen=True, slots=True)
class Place:
    """Where a slice lies."""

    source: str
    rows_before: int  # rows of the sources before this one
    rows_in_all: int


@dataclass(frozen=True, slots=True)
class Suspects:
    """Rows that break at least one rule."""

    rows: pl.DataFrame  # as read, and ROW
    typed: pl.DataFrame  # in their types, and beside that as text
    breaks: pl.DataFrame  # which rules they break
    compiled: Compiled

    def some(self, start: int, length: int) -> Suspects:
        """A stretch of them."""
        rows, typed = self.rows.slice(start, length), self.typed.slice(start, length)
        return Suspects(rows, typed, self.breaks.slice(start, length), self.compiled)

    def chosen(self, places: list[int]) -> Suspects:
        """A few of them."""
        return Suspects(self.rows[places], self.typed[places], self.breaks[places], self.compiled)

    def told(self) -> pl.DataFrame:
        """Their row numbers, the rules they break, the reasons in words, and their original values."""
        import polars as pl

        broken = [each for each in self.compiled.checks if self.breaks[each.rule].any()]
        marks = self.typed.with_columns(self.breaks.select(pl.all().name.prefix(_BREAKS)))
        kinds = marks.schema
        rules = [pl.when(pl.col(_BREAKS + each.rule)).then(pl.lit(each.rule)) for each in broken]
        reasons = [pl.when(pl.col(_BREAKS + each.rule)).then(_message(each, kinds)) for each in broken]
        told = marks.select(
            rules=pl.concat_list(rules).list.drop_nulls(), reasons=pl.concat_list(reasons).list.drop_nulls()
        )
        original = self.rows.select(self.compiled.columns)
        values = original.select(for_json(pl.col(name), kind) for name, kind in original.schema.items())
        return told.with_columns(row=self.rows[ROW], values=values.to_struct("values"))


def quarantine_lines(bad: Suspects | None, misfits: list[Misfit], place: Place) -> Iterator[bytes]:
    """The set-aside rows as JSON Lines, in row order."""
    waiting = 0  # the first misfit not written yet
    for start in range(0, bad.rows.height if bad else 0, BATCH_ROWS):
        assert bad is not None
        batch = bad.some(start, BATCH_ROWS)
        upto = waiting
        while upto < len(misfits) and misfits[upto].row < batch.rows[ROW][-1]:
            upto += 1
        yield _lines(batch, misfits[waiting:upto], place)
        waiting = upto
    yield b"".join(_misfit_line(each, place) for each in misfits[waiting:])


def note_suspects(tally: Tally, bad: Suspects | None, misfits: list[Misfit], place: Place) -> None:
    """Count the first rows, the first ones of each rule, and where invalid rows lie."""
    for misfit in misfits:
        tally.rules[misfit.rule] = tally.rules.get(misfit.rule, 0) + 1
        tally.places[(place.rows_before + misfit.row - 1) * BUCKETS // place.rows_in_all] += 1
    if bad is not None:
        for bucket, count in _buckets(bad.rows[ROW], place):
            tally.places[bucket] += count
    odd = [_example(place, each.row, [each.rule], [each.reason]) for each in _first_misfits(misfits)]
    merged = sorted([*odd, *_examples(bad, place)], key=lambda each: int(each["row"]))
    tally.first_rows = [{k: v for k, v in each.items() if k != "rules"} for each in merged[:FIRST_ROWS]]
    for each in merged:
        for rule, reason in zip(each["rules"], each["reasons"], strict=True):
            known = tally.examples.setdefault(rule, [])
            if len(known) < EXAMPLES:
                known.append({"source": place.source, "row": each["row"], "reason": reason})


def _lines(batch: Suspects, misfits: list[Misfit], place: Place) -> bytes:
    import polars as pl

    told, source = io.BytesIO(), pl.lit(place.source).alias("source")
    batch.told().select(source, "row", "rules", "reasons", "values").write_ndjson(told)
    if not misfits:
        return told.getvalue()
    lines = dict(zip(batch.rows[ROW].to_list(), told.getvalue().split(b"\n")[:-1], strict=True))
    for each in misfits:
        lines[each.row] = _misfit_line(each, place)[:-1]
    return b"".join(lines[row] + b"\n" for row in sorted(lines))


def _misfit_line(each: Misfit, place: Place) -> bytes:
    why = {"rules": [each.rule], "reasons": [each.reason]}
    line = {"source": place.source, "row": each.row, **why, **each.original}
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _message(each: Check, kinds: Mapping[str, pl.DataType]) -> pl.Expr:
    import polars as pl

    if not each.column:
        return pl.lit(_bare(each.message))
    name = TEXT + each.column
    shown = as_text(pl.col(name), kinds[name]).str.head(SHOWN_CHARACTERS).fill_null("nothing")
    before, mark, after = each.message.partition("'{}'")
    if not mark:
        return pl.lit(_bare(before))
    return pl.concat_str(pl.lit(_bare(before) + "'"), shown, pl.lit("'" + _bare(after)))


def _bare(message: str) -> str:
    return message.replace("{{", "{").replace("}}", "}")


def _first_misfits(misfits: list[Misfit]) -> list[Misfit]:
    first = misfits[:FIRST_ROWS]
    for rule in sorted({each.rule for each in misfits}):
        first += [each for each in misfits if each.rule == rule][:EXAMPLES]
    return list({each.row: each for each in first}.values())


def _examples(bad: Suspects | None, place: Place) -> list[dict[str, Any]]:
    """The first invalid rows, and the first ones of each rule."""
    if bad is None:
        return []
    places = set(range(min(FIRST_ROWS, bad.rows.height)))
    for rule in bad.breaks.columns:
        places.update(bad.breaks[rule].arg_true().head(EXAMPLES).to_list())
    told = bad.chosen(sorted(places)).told()
    return [_example(place, *line) for line in told.select("row", "rules", "reasons").iter_rows()]


def _example(place: Place, row: int, rules: list[str], reasons: list[str]) -> dict[str, Any]:
    return {"source": place.source, "row": row, "rules": rules, "reasons": reasons}


def _buckets(rows: pl.Series, place: Place) -> Iterable[tuple[int, int]]:
    at = (rows + (place.rows_before - 1)) * BUCKETS // place.rows_in_all
    return at.value_counts().iter_rows()
