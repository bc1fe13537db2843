"""The report that a data owner reads: one HTML file with everything inside, no script, no clock.

Pure: figures in, bytes out. The same figures give the same bytes, and the
figures don't depend on how the input was cut, so neither does the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

    from .merge import Whole

TEMPLATE = Path(__file__).with_name("report.html.j2")
TOP_VALUES = 8
SHOWN_GROUPS = 60
CHART_WIDTH, CHART_HEIGHT = 960, 120


@dataclass(frozen=True, slots=True)
class RuleLine:
    """A rule, as the report shows it."""

    name: str
    meaning: str
    count: int
    width: float  # of its bar, in percent of the longest
    share: float  # of all rows
    values: list[tuple[str, int]]  # what was found most often
    more_values: str
    examples: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ColumnLine:
    """A column, as the report shows it."""

    name: str
    type: str
    present: float  # shares of all rows, in percent
    missing: float
    invalid: float
    missing_count: int
    invalid_count: int
    least: str
    greatest: str


def render(whole: Whole) -> bytes:
    """Render the report."""
    tally = whole.tally
    page = _template().render(
        title=_title(whole),
        tally=tally,
        share=whole.share,
        accepted=whole.rules.accepted_share,
        rules=_rule_lines(whole),
        kept=[check.rule for check in whole.compiled.checks if check.rule not in tally.rules],
        columns=_column_lines(whole),
        sources=[(each.name, *tally.sources.get(each.name, [0, 0])) for each in whole.sources],
        bars=_bars(tally.places),
        chart=(CHART_WIDTH, CHART_HEIGHT),
        busiest=max(tally.places),
        first_rows=tally.first_rows,
        summary=whole.summary,
        summary_widths=_widths(whole.summary),
        shown_groups=SHOWN_GROUPS,
    )
    return (page.strip() + "\n").encode()


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = _number
    environment.filters["percent"] = _percent
    return environment.from_string(TEMPLATE.read_text("utf-8"))


def _title(whole: Whole) -> str:
    names = [each.name for each in whole.sources]
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _rule_lines(whole: Whole) -> list[RuleLine]:
    tally = whole.tally
    meanings = {check.rule: _meaning(check.message, check.column) for check in whole.compiled.checks}
    meanings["row.fields"] = "a row has as many fields as the header"
    meanings["row.json"] = "a line is one JSON object with the known keys"
    meanings["row.encoding"] = "a row is text, in UTF-8 or the encoding that was named"
    longest = max(tally.rules.values(), default=1)
    lines = []
    for name, count in sorted(tally.rules.items(), key=lambda each: (-each[1], each[0])):
        values = tally.found.get(name, {})
        top = sorted(values.items(), key=lambda each: (-each[1], each[0]))[:TOP_VALUES]
        lines.append(
            RuleLine(
                name=name,
                meaning=meanings.get(name, ""),
                count=count,
                width=100 * count / longest,
                share=count / tally.rows,
                values=top,
                more_values=_more(len(values), sum(values.values()), count),
                examples=tally.examples.get(name, []),
            )
        )
    return lines


def _more(values: int, counted: int, count: int) -> str:
    if values <= TOP_VALUES:
        return ""
    return f"and {values - TOP_VALUES:,} other values" + ("" if counted == count else " or more")


def _meaning(message: str, column: str) -> str:
    told = message.partition(", found ")[0].replace("{{", "{").replace("}}", "}")
    return told.removeprefix(f"{column}: ") if column else told


def _column_lines(whole: Whole) -> list[ColumnLine]:
    tally, lines = whole.tally, []
    for name, kind in whole.compiled.schema.items():
        if name not in whole.compiled.columns:
            continue
        missing, invalid = tally.missing.get(name, 0), tally.invalid.get(name, 0)
        rows = tally.rows or 1
        # A row can lack a required value: then it counts as missing here, not as invalid too.
        wrong = max(invalid - tally.rules.get(f"{name}.required", 0), 0)
        least, greatest = tally.extremes.get(name, [None, None])
        lines.append(
            ColumnLine(
                name=name,
                type=str(kind),
                present=100 * (rows - missing - wrong) / rows,
                missing=100 * missing / rows,
                invalid=100 * wrong / rows,
                missing_count=missing,
                invalid_count=wrong,
                least=_number(least),
                greatest=_number(greatest),
            )
        )
    return lines


def _bars(places: list[int]) -> list[tuple[float, float, float, float, int]]:
    """x, y, width, height and count of each bar of the picture of where invalid rows lie."""
    highest = max(places) or 1
    width = CHART_WIDTH / len(places)
    bars = []
    for at, count in enumerate(places):
        height = max(CHART_HEIGHT * count / highest, 2 if count else 0)
        bars.append(
            (
                round(at * width + 1, 2),
                round(CHART_HEIGHT - height, 2),
                round(width - 2, 2),
                round(height, 2),
                count,
            )
        )
    return bars


def _widths(summary: dict[str, Any] | None) -> list[float]:
    """What each column's longest bar stands for: its greatest number, 0 where bars would mean nothing."""
    if summary is None:
        return []
    columns = list(zip(*summary["rows"], strict=True)) or [()] * len(summary["columns"])
    keys = len(summary["group_by"])
    widths = []
    for at, values in enumerate(columns):
        numbers = [
            value for value in values if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        is_shown = at >= keys and len(numbers) > 1 and min(numbers) >= 0
        widths.append(float(max(numbers)) if is_shown else 0.0)
    return widths


def _number(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.2f}" if abs(value) >= 0.01 or value == 0 else f"{value:.3g}"


def _percent(share: float) -> str:
    if 0 < share < 0.0001:
        return "< 0.01%"
    return f"{100 * share:.2f}%" if share < 0.1 else f"{100 * share:.1f}%"
