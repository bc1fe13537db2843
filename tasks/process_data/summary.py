"""The summary: figures over the valid rows, group by group, that add up exactly.

Each partition gives a partial state for each group; states merge in any order
to the same figures, since counts are integers, sums are exact (``exact``) and
least and greatest don't care. A mean is an exact sum divided once, at the end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from . import exact
from .errors import RulesError
from .expressions import compile_sql, first_line
from .plain import plain
from .rules import Rules

if TYPE_CHECKING:
    import polars as pl

MAX_GROUPS = 100_000
_CALL = re.compile(r"\s*(COUNT|SUM|AVG|MEAN|MIN|MAX)\s*\((.*)\)\s*", re.IGNORECASE | re.DOTALL)
Key = tuple[Any, ...]
State = dict[str, Any]  # n: values counted; bins: exact sum; least; greatest


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One figure."""

    name: str
    function: str  # COUNT, SUM, AVG, MIN or MAX
    value: pl.Expr | None  # None for COUNT(*)
    kind: str  # of the value: integer, number, decimal or other
    scale: int = 0  # digits after the point, of a decimal


def compile_summary(rules: Rules, schema: dict[str, Any]) -> list[Aggregate]:
    """Compile the summary's aggregates for the valid rows' columns.

    Raises:
        RulesError: an aggregate or a group names what isn't there, or adds up what is no number.
    """
    if rules.summary is None:
        return []
    wanted = rules.summary.group_by
    for name in wanted:
        if name not in schema:
            raise RulesError(
                f"summary.group_by: there is no column {name!r}; it has {', '.join(list(schema)[:20])}"
            )
        if schema[name].is_nested():
            raise RulesError(f"summary.group_by: {name!r} is {schema[name]}; group by single values")
    twice = [name for name in wanted if wanted.count(name) > 1 or name in rules.summary.aggregates]
    if twice:
        raise RulesError(f"summary: expected each name once, found {twice[0]!r} twice; rename one")
    return [_compiled(name, sql, schema) for name, sql in rules.summary.aggregates.items()]


class Groups:
    """The states of every group, of all rows and other groups that were added."""

    def __init__(self, rules: Rules, schema: dict[str, Any]) -> None:
        import polars as pl

        self._aggregates = compile_summary(rules, schema)
        self._group_by = rules.summary.group_by if rules.summary else []
        self._keys = {name: plain(pl.col(name), schema[name]) for name in self._group_by}
        self._is_wanted = rules.summary is not None
        self._states: dict[Key, list[State]] = {}

    def add_rows(self, valid: pl.DataFrame) -> None:
        """Add valid rows."""
        if self._is_wanted and valid.height:
            self._add(_states_of(valid, self._keys, self._aggregates))

    def add_json(self, groups: list[Any]) -> None:
        """Add what ``to_json`` gave elsewhere."""
        self._add({tuple(key): states for key, states in groups})

    def to_json(self) -> list[Any]:
        """Every group's key and states, in a fixed order."""
        return [[list(key), self._states[key]] for key in sorted(self._states, key=_rank)]

    def table(self) -> dict[str, Any] | None:
        """The finished summary, its groups sorted, missing keys last; None where none is asked for."""
        if not self._is_wanted:
            return None
        return {
            "group_by": self._group_by,
            "columns": [*self._group_by, *(each.name for each in self._aggregates)],
            "rows": [[*key, *self._figures(key)] for key in sorted(self._states, key=_rank)],
        }

    def _figures(self, key: Key) -> list[Any]:
        pairs = zip(self._aggregates, self._states[key], strict=True)
        return [_figure(each, state) for each, state in pairs]

    def _add(self, more: dict[Key, list[State]]) -> None:
        for key, states in more.items():
            known = self._states.get(key)
            if known is not None:
                trios = zip(self._aggregates, known, states, strict=True)
                states = [_merged(each, first, second) for each, first, second in trios]
            self._states[key] = states
        if len(self._states) > MAX_GROUPS:
            raise RulesError(
                f"summary.group_by: expected at most {MAX_GROUPS} groups, found more; group by fewer values"
            )


def _states_of(
    valid: pl.DataFrame, group_by: dict[str, pl.Expr], aggregates: list[Aggregate]
) -> dict[Key, list[State]]:
    import polars as pl

    inputs = {f"v{at}": each.value for at, each in enumerate(aggregates) if each.value is not None}
    keys = [f"k:{name}" for name in group_by]
    names = [value.alias(f"k:{name}") for name, value in group_by.items()]
    frame = valid.select(*names, **inputs, n=pl.repeat(1, pl.len(), dtype=pl.Int64))
    figures = [pl.col("n").sum()]
    powers = {}
    for at, each in enumerate(aggregates):
        frame, powers[at] = _with_bins(frame, f"v{at}", each)
        figures += _partials(f"v{at}", each, powers[at])
    grouped = frame.group_by(keys).agg(figures) if keys else frame.select(figures)
    return {
        tuple(_plain(row[key]) for key in keys): [
            _state(row, f"v{at}", each, powers[at]) for at, each in enumerate(aggregates)
        ]
        for row in grouped.iter_rows(named=True)
    }


def _rank(key: Key) -> list[tuple[bool, Any]]:
    return [(part is None, part) for part in key]


def _called(place: str, sql: str) -> tuple[str, str]:
    """The function that an aggregate calls, and what stands in its brackets."""
    match = _CALL.fullmatch(sql)
    if not match or not _is_one_call(match.group(2)):
        raise RulesError(
            f"{place}: expected COUNT(*), or COUNT, SUM, AVG, MIN or MAX of an expression, found {sql!r}"
        )
    function, inside = match.group(1).upper().replace("MEAN", "AVG"), match.group(2)
    if inside.strip() == "*" and function != "COUNT":
        raise RulesError(f"{place}: expected {function} of a column, found {sql!r}; only COUNT takes *")
    return function, inside


def _compiled(name: str, sql: str, schema: dict[str, Any]) -> Aggregate:
    import polars as pl

    place = f"summary.aggregates.{name}"
    function, inside = _called(place, sql)
    if inside.strip() == "*":
        return Aggregate(name, function, None, "other")
    value = compile_sql(place, inside)
    try:
        kind = pl.DataFrame(schema=schema).select(value.alias("value")).schema["value"]
    except pl.exceptions.PolarsError as error:
        raise RulesError(
            f"{place}: can't work on these columns: {first_line(error)}; correct {sql!r}"
        ) from None
    if function in ("SUM", "AVG") and not (kind.is_numeric() or kind == pl.Boolean):
        raise RulesError(
            f"{place}: expected a number to add up, found {kind} in {sql!r}; give the column a number's type"
        )
    if function != "COUNT":
        if kind.is_nested():
            raise RulesError(f"{place}: expected single values, found {kind} in {sql!r}")
        value = plain(value, kind)
    if isinstance(kind, pl.Decimal):
        return Aggregate(name, function, value, "decimal", kind.scale)
    if kind.is_float():
        # A narrower float is widened, which is exact, so that all sums use one set of bins.
        return Aggregate(name, function, value.cast(pl.Float64), "number")
    is_whole = kind.is_integer() or (kind == pl.Boolean and function in ("SUM", "AVG"))
    if is_whole:
        return Aggregate(name, function, value.cast(pl.Int128), "integer")
    return Aggregate(name, function, value, "other")


def _is_one_call(inside: str) -> bool:
    """Whether what stands in a call's brackets is one value: not ``b) + MIN(b``, nor ``DISTINCT b``."""
    depth = 0
    for letter in inside:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return False
    return not inside.upper().lstrip().startswith("DISTINCT ")


def _with_bins(frame: pl.DataFrame, column: str, each: Aggregate) -> tuple[pl.DataFrame, list[int]]:
    if each.function not in ("SUM", "AVG") or each.kind != "number":
        return frame, []
    bins = exact.binned(frame[column])
    frame = frame.with_columns(units.alias(f"{column}:{power}") for power, units in bins)
    return frame, [power for power, _ in bins]


def _partials(column: str, each: Aggregate, powers: list[int]) -> list[pl.Expr]:
    import polars as pl

    if each.value is None:
        return []
    figures = [pl.col(column).count().alias(f"{column}.n")]
    if each.function in ("MIN", "MAX"):
        best = pl.col(column).min() if each.function == "MIN" else pl.col(column).max()
        figures.append(best.alias(f"{column}.best"))
    elif each.function in ("SUM", "AVG"):
        figures += [pl.col(f"{column}:{power}").sum().alias(f"{column}.{power}") for power in powers]
        if each.kind != "number":
            figures.append(pl.col(column).sum().alias(f"{column}.sum"))
    return figures


def _state(row: dict[str, Any], column: str, each: Aggregate, powers: list[int]) -> State:
    if each.value is None:
        return {"n": row["n"]}
    state: State = {"n": row[f"{column}.n"]}
    if each.function in ("MIN", "MAX"):
        state["best"] = _plain(row[f"{column}.best"])
    elif each.kind == "number":
        state["bins"] = {str(power): row[f"{column}.{power}"] for power in powers if row[f"{column}.{power}"]}
    elif each.function in ("SUM", "AVG"):
        value = row[f"{column}.sum"] or 0
        state["sum"] = int(Fraction(value) * 10**each.scale)
    return state


def _merged(each: Aggregate, first: State, second: State) -> State:
    state: State = {"n": first["n"] + second["n"]}
    if "bins" in first:
        state["bins"] = {
            power: first["bins"].get(power, 0) + second["bins"].get(power, 0)
            for power in sorted({*first["bins"], *second["bins"]}, key=int)
        }
    if "sum" in first:
        state["sum"] = first["sum"] + second["sum"]
    if "best" in first:
        values: list[Any] = [value for value in (first["best"], second["best"]) if value is not None]
        rank = Decimal if each.kind == "decimal" else None
        choose = min if each.function == "MIN" else max
        state["best"] = choose(values, key=rank) if values else None
    return state


def _figure(each: Aggregate, state: State) -> Any:
    if each.function == "COUNT":
        return state["n"]
    if "best" in state or not state["n"]:
        return state.get("best")
    bins = {int(power): units for power, units in state.get("bins", {}).items()}
    total = Fraction(state["sum"]) if "sum" in state else exact.total(bins)
    if each.function == "AVG":
        return float(total / state["n"] / 10**each.scale)
    if each.kind == "decimal":
        return _decimal(state["sum"], each.scale)
    return state["sum"] if each.kind == "integer" else float(total)


def _decimal(units: int, scale: int) -> str:
    """A scaled integer as decimal text; ``Decimal`` would round it to its context's digits."""
    digits = str(abs(units)).rjust(scale + 1, "0")
    sign = "-" if units < 0 else ""
    return sign + (f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits)


def _plain(value: Any) -> Any:
    """A value as JSON has it; dates as ISO text, which sorts as they do."""
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
