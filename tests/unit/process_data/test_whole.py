"""The whole gate against a plain reading by Python's own modules."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.process_data import csv_rows, frames
from tasks.process_data.errors import SourceError
from tests.unit.process_data.conftest import quarantine_bytes, quarantined, run_whole, tree, valid_rows

TEXTS = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\r\0"), max_size=6
) | st.sampled_from(["", '"', '""', ",", "\n", "\r\n", 'a "b" c', "ünï", "\ufeff", "1", "-2.5", " "])
TABLES = st.lists(st.lists(TEXTS, min_size=2, max_size=4), max_size=25)
RAW = st.lists(
    st.sampled_from(['"', ",", "\n", "\r\n", "a", "é", '"a"', "a,b,c\n", "\ufeff"]), max_size=40
).map("".join)
HEADER = ["a", "b", "c"]


def as_csv(rows: list[list[str]], quoting: int, line_end: str) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=quoting, lineterminator=line_end).writerows([HEADER, *rows])  # type: ignore[arg-type]
    return text.getvalue()


def check_against_csv_module(text: str, content: bytes, cut: int) -> None:
    """Valid rows and quarantine must be what Python's csv module reads, in order, nothing lost."""
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row][1:]
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "x.csv"), Path(folder, "out")
        source.write_bytes(content)
        result = run_whole(str(source), {"missing": []}, output, partition_bytes=cut, allow_empty=True)
        assert valid_rows(output) == [tuple(row) for row in rows if len(row) == 3]
        assert [(line["row"], line["fields"]) for line in quarantined(output)] == [
            (number, row) for number, row in enumerate(rows, 1) if len(row) != 3
        ]
        assert result["rows"] == len(rows) == result["valid"] + result["quarantined"]


@settings(max_examples=120, deadline=None)
@given(
    TABLES,
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.integers(1, 300),
)
def test_gate_reads_what_the_csv_module_reads_when_cut_anywhere(
    rows: list[list[str]], quoting: int, line_end: str, has_mark: bool, cut: int
) -> None:
    """Quotes, quoted line breaks, CRLF, a byte-order mark and any cut give the plain reading's rows."""
    text = as_csv(rows, quoting, line_end)
    check_against_csv_module(text, (b"\xef\xbb\xbf" if has_mark else b"") + text.encode(), cut)


@settings(max_examples=120, deadline=None)
@given(RAW, st.integers(1, 60))
def test_gate_loses_nothing_when_text_is_arbitrary(raw: str, cut: int) -> None:
    """Stray quotes and ragged rows come out as Python reads them; an unclosed quote is refused."""
    text = "a,b,c\n" + raw
    try:
        check_against_csv_module(text, text.encode(), cut)
    except SourceError as error:
        assert "expected a closing quote" in str(error)


@settings(max_examples=120, deadline=None)
@given(RAW, st.integers(0, 4), st.integers(1, 40))
def test_gate_loses_nothing_when_read_in_small_pieces(raw: str, most_ragged: int, stretch_bytes: int) -> None:
    """Slices, stretches and cutting out ragged rows give the plain reading, whatever their sizes."""
    text = "a,b,c\n" + raw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_rows, "STRETCH_BYTES", stretch_bytes)
        patch.setattr(csv_rows, "MOST_RAGGED", most_ragged)
        patch.setattr(frames, "SLICE_BYTES", stretch_bytes * 3)
        patch.setattr(frames, "LEAST_SLICE_BYTES", 1)
        try:
            check_against_csv_module(text, text.encode(), 10_000)
        except SourceError as error:
            assert "expected a closing quote" in str(error)


RULES: dict[str, Any] = {
    "columns": {
        "id": {"type": "integer", "required": True, "min": 2},
        "amount": {"type": "number", "max": 9e15},
        "group": {"allowed": ["x", "y"]},
    },
    "row_rules": {"odd": "MOD(id, 7) <> 0"},
    "derived": {"twice": "amount * 2"},
    "summary": {
        "group_by": ["group"],
        "aggregates": {
            "n": "COUNT(*)",
            "total": "SUM(amount)",
            "mean": "AVG(twice)",
            "low": "MIN(amount)",
            "high": "MAX(id)",
        },
    },
}


def orders(count: int = 400) -> str:
    amounts = ["0.1", "1e15", "-3.3", "n/a", "", "2.5e-300", "1e16", "-1e15", "7"]
    return "id,amount,group\n" + "".join(
        f"{number},{amounts[number * 7 % 9]},{'xyz'[number * 5 % 11 % 3]}\n" for number in range(count)
    )


@pytest.mark.parametrize("cut", [20, 333, 4000])
def test_output_is_the_same_when_cuts_differ(written: Callable[..., Path], tmp_path: Path, cut: int) -> None:
    """Rows, quarantine, summary, report and counts don't depend on the partitions."""
    source = str(written("orders.csv", orders()))
    whole, cuts = tmp_path / "whole", tmp_path / "cuts"
    first = run_whole(source, RULES, whole)
    second = run_whole(source, RULES, cuts, partition_bytes=cut)
    assert second["parts"] > first["parts"] == 1
    assert valid_rows(whole) == valid_rows(cuts)
    assert quarantine_bytes(whole) == quarantine_bytes(cuts)
    for name in ("summary.json", "report.html"):
        assert (whole / name).read_bytes() == (cuts / name).read_bytes()
    assert {**first, "parts": 0, **_places(whole)} == {**second, "parts": 0, **_places(whole)}


def _places(folder: Path) -> dict[str, str]:
    names = {"report": "report.html", "summary": "summary.json", "manifest": "manifest.json"}
    return {"destination": str(folder), **{key: str(folder / name) for key, name in names.items()}}


def test_output_is_the_same_to_the_byte_when_run_again(written: Callable[..., Path], tmp_path: Path) -> None:
    """Two runs with the same partitions give the same files."""
    source = str(written("orders.csv", orders()))
    run_whole(source, RULES, tmp_path / "one", partition_bytes=500, job_id="one")
    run_whole(source, RULES, tmp_path / "two", partition_bytes=500, job_id="two")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_summary_is_exact_when_floats_cancel(written: Callable[..., Path], tmp_path: Path) -> None:
    """Sums and means are those of exact fractions, rounded once."""
    source = str(written("orders.csv", orders()))
    run_whole(source, RULES, tmp_path / "out", partition_bytes=100)
    rows = valid_rows(tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())["summary"]
    for group, count, total, mean, low, high in summary["rows"]:
        mine = [row for row in rows if row[2] == group]
        amounts = [Fraction(row[1]) for row in mine if row[1] is not None]
        twice = [Fraction(row[3]) for row in mine if row[3] is not None]
        assert (count, total, mean) == (len(mine), float(sum(amounts)), float(sum(twice) / len(twice)))
        assert (low, high) == (float(min(amounts)), max(row[0] for row in mine))


def test_quarantine_holds_every_reason_when_a_row_breaks_several_rules(
    written: Callable[..., Path], tmp_path: Path
) -> None:
    """A quarantined row carries its source, number, original values and all the rules it breaks."""
    source = written("orders.csv", "id,amount,group\n8,1,x\n0,many,z\n")
    run_whole(str(source), RULES, tmp_path / "out")
    assert quarantined(tmp_path / "out") == [
        {
            "source": "orders.csv",
            "row": 2,
            "rules": ["id.min", "amount.type", "group.allowed", "odd"],
            "reasons": [
                "id: expected at least 2, found '0'",
                "amount: expected a number, found 'many'",
                "group: expected one of x, y, found 'z'",
                "expected MOD(id, 7) <> 0",
            ],
            "values": {"id": "0", "amount": "many", "group": "z"},
        }
    ]


def packed(name: str, content: bytes) -> bytes:
    import zstandard

    if name.endswith(".gz"):
        half = len(content) // 2  # two members, as log rotation and bgzip write them
        return gzip.compress(content[:half]) + gzip.compress(content[half:])
    return zstandard.compress(content)


@pytest.mark.parametrize("name", ["orders.csv.gz", "orders.csv.zst"])
def test_output_is_the_plain_files_when_the_source_is_packed(
    written: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    """A packed source is cut and checked as the plain one is."""
    plain = str(written("orders.csv", orders()))
    source = str(written(name, packed(name, orders().encode())))
    run_whole(plain, RULES, tmp_path / "plain", partition_bytes=700)
    run_whole(source, RULES, tmp_path / "packed", partition_bytes=700)
    assert valid_rows(tmp_path / "plain") == valid_rows(tmp_path / "packed")
    assert len(tree(tmp_path / "packed")) == len(tree(tmp_path / "plain"))


def test_output_is_utf8_when_the_source_is_in_another_encoding(
    written: Callable[..., Path], tmp_path: Path
) -> None:
    """A named encoding is honoured, one that can't be cut by bytes too."""
    text = 'a,b,c\nä,"ö\nü",ß\n€,2,3\n'
    for encoding in ("cp1252", "utf-16"):
        source = str(written(f"{encoding}.csv", text.encode(encoding)))
        run_whole(source, {}, tmp_path / encoding, encoding=encoding, partition_bytes=1)
        assert valid_rows(tmp_path / encoding) == [("ä", "ö\nü", "ß"), ("€", "2", "3")]


def test_parquet_gives_the_rows_of_csv_when_row_groups_are_cut(
    written: Callable[..., Path], tmp_path: Path
) -> None:
    """Parquet is cut at row groups; rows keep their numbers."""
    import polars as pl

    source = str(written("orders.csv", orders()))
    frame = pl.read_csv(source, infer_schema=False)
    frame.with_columns(pl.col("id").cast(pl.Int64)).write_parquet(
        tmp_path / "orders.parquet", row_group_size=64
    )
    run_whole(source, RULES, tmp_path / "csv")
    result = run_whole(str(tmp_path / "orders.parquet"), RULES, tmp_path / "pq", partition_bytes=1)
    assert result["parts"] == 7
    assert valid_rows(tmp_path / "csv") == valid_rows(tmp_path / "pq")
    rows = [[line["row"] for line in quarantined(tmp_path / kind)] for kind in ("csv", "pq")]
    assert rows[0] == rows[1]


def test_json_lines_keep_every_line_when_some_are_no_rows(
    written: Callable[..., Path], tmp_path: Path
) -> None:
    """A line that is no object with the known keys is set aside with its text; blank lines are no rows."""
    lines = [
        '{"id": 9, "amount": 1.10, "group": "x"}',
        "",
        "{oops",
        "[1]",
        '{"id": "10", "group": null}',
        '{"new": 1}',
    ]
    lines[1:1] = ['{"id": 8}'] * 3
    source = written("orders.jsonl", "\n".join(lines))
    result = run_whole(
        str(source), {"columns": {"id": {"type": "integer"}}}, tmp_path / "out", partition_bytes=20
    )
    assert result["rows"] == 8
    assert valid_rows(tmp_path / "out") == [
        (9, "1.10", "x", None), *[(8, None, None, None)] * 3, (10, None, None, None), (None, None, None, "1"),
    ]  # fmt: skip
    assert [(line["row"], line["text"]) for line in quarantined(tmp_path / "out")] == [
        (5, "{oops"),
        (6, "[1]"),
    ]


def test_several_sources_make_one_output_when_their_columns_agree(
    written: Callable[..., Path], tmp_path: Path
) -> None:
    """A glob's files are read in order, columns matched by name, rows numbered for each source."""
    written("b.csv", "y,x\n2,1\nonly\n")
    written("a.csv", "x,y\n3,4\n")
    result = run_whole(str(tmp_path / "*.csv"), {}, tmp_path / "out")
    assert valid_rows(tmp_path / "out") == [("3", "4"), ("1", "2")]
    assert result["first_reasons"] == [
        {"source": "b.csv", "row": 2, "reasons": ["expected 2 fields, found 1"]}
    ]


def test_sources_are_read_through_fsspec_when_they_are_urls(tmp_path: Path) -> None:
    """Any fsspec URL works, globs, packed files and Parquet too."""
    import fsspec
    import polars as pl

    store = fsspec.filesystem("memory")
    store.pipe_file("/shop/a.csv", b"x,y\n1,2\n3\n")
    store.pipe_file("/shop/b.csv.gz", gzip.compress(b"x,y\n5,6\n"))
    parquet = io.BytesIO()
    pl.DataFrame({"x": ["7"], "y": ["8"]}).write_parquet(parquet)
    store.pipe_file("/shop/c.parquet", parquet.getvalue())
    result = run_whole("memory://shop/*", {}, tmp_path / "out", partition_bytes=4)
    assert valid_rows(tmp_path / "out") == [("1", "2"), ("5", "6"), ("7", "8")]
    assert result["first_reasons"] == [
        {"source": "a.csv", "row": 2, "reasons": ["expected 2 fields, found 1"]}
    ]
    store.rm("/shop", recursive=True)
