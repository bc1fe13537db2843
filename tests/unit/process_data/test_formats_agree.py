"""One set of data, one verdict: in CSV, JSON Lines and Parquet, in one partition and in many."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.process_data.conftest import quarantined, run_whole, valid_rows

if TYPE_CHECKING:
    import polars as pl

UTC = dt.UTC


def write(frame: pl.DataFrame, kind: str, folder: Path) -> str:
    """Write a frame in a format; as polars writes it."""
    path = folder / f"x.{kind}"
    if kind == "parquet":
        frame.write_parquet(path, row_group_size=2)
    elif kind == "csv":
        frame.write_csv(path)
    else:
        frame.write_ndjson(path)
    return str(path)


@pytest.mark.parametrize("partition_bytes", [1, 1 << 20])
@pytest.mark.parametrize(
    ("values", "column", "bad"),
    [
        ([1, 5, None, 2**40], {"type": "integer", "max": 9}, [4]),
        ([1.5, 2.25, None], {"type": "integer"}, [1, 2]),
        ([19.99, 1.005, -0.5], {"type": "decimal"}, [2]),
        ([True, False, None], {"type": "integer"}, [1, 2]),
        ([0, 1, 5], {"type": "boolean"}, [3]),
        ([20240229, 20240230], {"type": "date", "format": "%Y%m%d"}, [2]),
        ([dt.date(2020, 1, 1), None, dt.date(2021, 1, 1)], {"type": "date", "max": "2020-12-31"}, [3]),
        ([-999, 4, 5], {"type": "integer", "missing": ["-999"], "required": True}, [1]),
        (["a", "", "b"], {"required": True, "allowed": ["a"]}, [2, 3]),
        ([Decimal("1.50"), Decimal("2.25")], {"type": "integer"}, [1, 2]),
        ([dt.datetime(2020, 1, 1, 7, tzinfo=UTC).replace(tzinfo=None)], {"type": "date"}, [1]),
    ],
)
def test_verdict_is_the_same_when_the_format_differs(
    tmp_path: Path, values: list[Any], column: dict[str, Any], bad: list[int], partition_bytes: int
) -> None:
    """Nothing is rounded, cut or turned into something else on the way into a type."""
    import polars as pl

    frame, found = pl.DataFrame({"a": values, "n": [str(n) for n in range(len(values))]}), {}
    for kind in ("csv", "jsonl", "parquet"):
        out = tmp_path / kind
        run_whole(
            write(frame, kind, tmp_path), {"columns": {"a": column}}, out, partition_bytes=partition_bytes
        )
        assert [row["row"] for row in quarantined(out)] == bad, kind
        found[kind] = [row[1] for row in valid_rows(out)]
    assert found["csv"] == found["jsonl"] == found["parquet"]


KINDS: dict[str, list[Any]] = {
    "floats": [1.5, float("nan"), -0.0, 0.0, float("inf"), None],
    "decimals": [Decimal("9.00"), Decimal("10.00"), None],
    "moments": [dt.datetime(2020, 10, 25, 0, 30, tzinfo=UTC), dt.datetime(2020, 10, 25, 1, 10, tzinfo=UTC)],
    "times": [dt.time(1), dt.time(2), None],
    "spans": [dt.timedelta(hours=1), dt.timedelta(1), None],
    "bytes": [b"\xff\x00", b"a", None],
    "nothing": [None, None],
}


@pytest.mark.parametrize("name", KINDS)
def test_figures_are_json_and_the_same_when_parquet_holds_anything(tmp_path: Path, name: str) -> None:
    """NaN, infinity, minus zero, times, bytes: told as JSON has them, whatever the cut."""
    import polars as pl

    frame = pl.DataFrame({"a": KINDS[name]})
    if name == "moments":
        frame = frame.with_columns(pl.col("a").dt.convert_time_zone("Europe/Berlin"))
    rules = {
        "columns": {"a": {"required": True}},
        "summary": {"group_by": ["a"], "aggregates": {"n": "COUNT(*)", "lo": "MIN(a)", "hi": "MAX(a)"}},
    }
    whole = {**rules, "summary": {"aggregates": rules["summary"]["aggregates"]}}
    told = []
    for size, each in ((1, rules), (1 << 20, rules), (1, whole), (1 << 20, whole)):
        out = tmp_path / f"{len(told)}"
        frame.write_parquet(tmp_path / "x.parquet", row_group_size=1)
        run_whole(str(tmp_path / "x.parquet"), each, out, partition_bytes=size)
        told.append(json.loads((out / "summary.json").read_bytes(), parse_constant=pytest.fail))
    assert (told[0], told[2]) == (told[1], told[3])


def test_mean_counts_what_it_adds_up_when_a_float_is_no_number(tmp_path: Path) -> None:
    """A NaN was left out of the sum, but not of what the sum was divided by."""
    import polars as pl

    pl.DataFrame({"a": [1.0, float("nan"), 3.0]}).write_parquet(tmp_path / "x.parquet")
    rules = {"summary": {"aggregates": {"mean": "AVG(a)"}}}
    run_whole(str(tmp_path / "x.parquet"), rules, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "summary.json").read_bytes())["summary"]["rows"] == [[2.0]]


@pytest.mark.parametrize(
    ("values", "rules"),
    [
        ([[1, 2], [3], None], {"columns": {"a": {"required": True}}}),
        ([{"x": 1}, {"x": 2}, None], {"columns": {"a": {"required": True}}}),
        ([dt.timedelta(hours=1), None], {"columns": {"a": {"required": True, "pattern": "PT1H"}}}),
        ([b"\xff", None], {"columns": {"a": {"required": True, "type": "string"}}}),
    ],
)
def test_parquet_rows_are_quarantined_when_their_values_are_no_text(
    tmp_path: Path, values: list[Any], rules: dict[str, Any]
) -> None:
    """Lists, records, spans and bytes pass as they are, and are told as text."""
    import polars as pl

    pl.DataFrame({"a": values}).write_parquet(tmp_path / "x.parquet")
    result = run_whole(str(tmp_path / "x.parquet"), rules, tmp_path / "out")
    assert result["rules"] == {"a.required": 1}
