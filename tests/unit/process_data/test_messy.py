"""Files and rules as they are found: told apart, refused or checked, and never read as what they are not."""

from __future__ import annotations

import bz2
import json
import lzma
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.process_data import gate, survey
from tasks.process_data.errors import SourceError, TooManyInvalid
from tests.unit.process_data.conftest import params_for, quarantined, run_whole, valid_rows

Written = Callable[..., Path]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("mac.csv", b"a,b\r1,2\r", "found CR alone in the header"),
        ("utf16.csv", "a,b\n1,2\n".encode("utf-16"), "-p encoding=utf-16"),
        ("utf32.csv", "a,b\n1,2\n".encode("utf-32"), "-p encoding=utf-32"),
        ("bare.csv", "a,b\n1,2\n".encode("utf-16-le"), "-p encoding=utf-16-le"),
        ("book.csv", b"PK\x03\x04\x14\x00", "a ZIP archive or a spreadsheet"),
        ("column.csv", b"PAR1\x15\x04", "-p format=parquet"),
        ("star.csv", b"*,b\n1,2\n", r"a column can't be called '\*'"),
        ("list.jsonl", b'[{"a":1}]\n', r"found a list; write its objects one a line"),
        ("one.json", b'{"a":1}\n', "-p format=jsonl"),
    ],
)
def test_readable_tells_what_a_file_is_when_it_is_something_else(
    written: Written, tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    """The message names what was found, and the parameter or the tool that helps."""
    (reason,) = gate.readable(params_for(written(name, content), {}, tmp_path / "out")) or [""]
    assert re.search(told, reason)


def test_text_is_told_with_its_line_when_it_can_be_no_text(written: Written, tmp_path: Path) -> None:
    """Half a letter of UTF-16 can't be set aside with its row; the line is that of the byte."""
    text = "a\n1\n".encode("utf-16-le") + b"\x41\xdc"
    params = params_for(written("x.csv", text), {}, tmp_path / "out", encoding="utf-16-le")
    assert "but line 3 is not" in (gate.readable(params) or [""])[0]


@pytest.mark.parametrize("partition_bytes", [1, 1 << 20])
@pytest.mark.parametrize(
    ("name", "content", "encoding", "told"),
    [
        ("x.csv", b"a,b\n1,2\n3,caf\xe9\n\xe9\n5,6\n", "utf-8", r"caf\xe9"),
        ("x.csv", b"a,b\n1,2\n3,\xe9\x81\n\x81\n5,6\n", "cp1252", r"é\x81"),
        ("x.csv", "a,b\n1,2\n3,é\né\n5,6\n".encode(), "ascii", r"\xc3\xa9"),
        ("x.csv", b"a,b\n1,2\n3,\x83\x41\x80\n\x80\n5,6\n", "shift_jis", r"ア\x80"),
        (
            "x.jsonl",
            b'{"a":"1","b":"2"}\n{"a":"caf\xe9"}\n\xe9\n{"a":"5","b":"6"}\n',
            "utf-8",
            r'{"a":"caf\xe9"}',
        ),
    ],
)
def test_row_is_set_aside_when_its_bytes_are_none_of_the_encoding(
    written: Written,
    tmp_path: Path,
    name: str,
    content: bytes,
    encoding: str,
    told: str,
    partition_bytes: int,
) -> None:
    """One such row refused the whole file. What it held is told, byte by byte where it is no text."""
    out = tmp_path / "out"
    source = str(written(name, content))
    run_whole(source, {}, out, encoding=encoding, partition_bytes=partition_bytes)
    assert valid_rows(out) == [("1", "2"), ("5", "6")]
    found = quarantined(out)
    assert [(row["row"], row["rules"]) for row in found] == [(2, ["row.encoding"]), (3, ["row.encoding"])]
    assert told in found[0]["reasons"][0] and told in (found[0].get("text") or found[0]["fields"][1])
    assert "a row is text" in (out / "report.html").read_text()


def test_rows_are_set_aside_alone_when_many_others_are_text(written: Written, tmp_path: Path) -> None:
    """What lies around them is read at full speed, and nothing of it is lost."""
    content = b"a,b\n" + b"1,2\n" * 400_000 + b"3,\xe9\n4\n\xe9\n" + b"1,2\n" * 400_000
    result = run_whole(str(written("x.csv", content)), {}, tmp_path / "out")
    assert (result["rows"], result["valid"]) == (800_003, 800_000)
    assert result["rules"] == {"row.fields": 1, "row.encoding": 2}


@pytest.mark.parametrize("encoding", ["hex", "rot13", "undefined", "x\0"])
def test_encoding_is_refused_when_it_is_none_of_text(tmp_path: Path, encoding: str) -> None:
    """Python's codecs that turn bytes into bytes ended the check with a traceback."""
    with pytest.raises(ValueError, match="expected a text encoding"):
        params_for("x.csv", {}, tmp_path, encoding=encoding)


def test_delimiter_is_a_tab_when_a_shell_left_it_as_backslash_t(tmp_path: Path) -> None:
    """Few shells write a tab."""
    assert params_for("x.csv", {}, tmp_path, delimiter=r"\t").delimiter == "\t"


@pytest.mark.parametrize(
    ("name", "pack"), [("x.csv.bz2", bz2.compress), ("x.csv.xz", lzma.compress), ("x.csv", bz2.compress)]
)
def test_source_is_unpacked_when_it_is_bzip2_or_xz(
    written: Written, tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    """Whatever its name; one that stops short is refused."""
    whole = pack(b"a\n1\n") + pack(b"2\n")
    run_whole(str(written(name, whole)), {}, tmp_path / "out")
    assert valid_rows(tmp_path / "out") == [("1",), ("2",)]
    with pytest.raises(SourceError, match=r"truncated|damaged"):
        run_whole(str(written(name, whole[:-3])), {}, tmp_path / "other")


def test_source_is_refused_when_it_is_the_same_file_under_two_names(written: Written, tmp_path: Path) -> None:
    """A glob that meets a link to the latest file would count its rows twice."""
    (tmp_path / "latest.csv").symlink_to(written("monday.csv", "a\n1\n"))
    (reason,) = gate.readable(params_for(tmp_path / "*.csv", {}, tmp_path / "out")) or [""]
    assert "expected each file once" in reason


def test_source_is_refused_when_it_is_a_pipe(tmp_path: Path) -> None:
    """Opening it would wait for a writer for ever."""
    os.mkfifo(tmp_path / "x.csv")
    (reason,) = gate.readable(params_for(tmp_path / "x.csv", {}, tmp_path / "out")) or [""]
    assert "found a pipe or a device" in reason


@pytest.mark.parametrize("change", [lambda path: path.write_text("a\n1\n2\n3\n"), Path.unlink])
def test_clean_refuses_when_the_source_changes_while_it_is_surveyed(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], Any]
) -> None:
    """What was appended behind the last cut would have been left out in silence."""
    source = written("x.csv", "a\n1\n2\n")
    cut = survey._cuts

    def and_change(*args: Any) -> Any:
        yield from list(cut(*args))
        change(source)

    monkeypatch.setattr(survey, "_cuts", and_change)
    with pytest.raises(SourceError, match=r"has changed since|found nothing there"):
        run_whole(str(source), {}, tmp_path / "out")


def test_json_keeps_numbers_when_they_stand_inside_a_list(written: Written, tmp_path: Path) -> None:
    """Nested values are the JSON that was there; a key that stands twice sets its row aside."""
    text = (
        '{"a":{"x":1.50,"y":[2,null,"s"]}}\n{"a":1,"a":2}\n'
        + '{"a\\ud800":1}\n'
        + '{"a":'
        + "9" * 5000
        + "}\n"
    )
    run_whole(str(written("x.jsonl", text)), {}, tmp_path / "out")
    assert valid_rows(tmp_path / "out") == [('{"x":1.50,"y":[2,null,"s"]}',), ("9" * 5000,)]
    assert [row["reasons"][0].partition(", ")[2] for row in quarantined(tmp_path / "out")] == [
        "but it does not parse: the key 'a' stands there twice",
        r"found a\ud800 too",
    ]


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (
            {"columns": {"a": {"max": 10}}},
            r"columns\.a\.max: expected text, found 10; give",
        ),
        ({"columns": {"a": {"allowed": [True]}}}, r"columns\.a\.allowed: expected text, found True"),
        ({"columns": {"a": {"allowed": []}}}, r"columns: a: allowed: expected at least one value"),
        (
            {"columns": {"a": {"type": "integer", "min": 3, "max": 1}}},
            r"found 3 and 1",
        ),
        (
            {"columns": {"a": {"type": "integer", "allowed": [10**30]}}},
            r"expected an integer of at most",
        ),
        (
            {"columns": {"a": {"type": "number", "max": "inf"}}},
            r"expected a number, found 'inf'",
        ),
        (
            {"columns": {"a": {"type": "decimal", "max": 5.005}}},
            r"2 digits after the point, found 5\.005",
        ),
        (
            {"columns": {"a": {"type": "decimal", "max": "NaN"}}},
            r"2 digits after the point, found 'NaN'",
        ),
        ({"columns": {"a": {"type": "decimal", "max": "1e50"}}}, r"digits after the point, found '1e50'"),
        ({"columns": {"a": {"format": "%Y"}}}, r"format: only dates have one"),
        ({"columns": {"a": {"scale": 3}}}, r"scale: only decimals have one"),
        ({"columns": {"a": {"pattern": "(?=1)1"}}}, r"error: look-around, .* is not supported"),
        ({"row_rules": {"r": "1 = 2"}}, r"row_rules\.r: expected an expression on columns"),
        ({"derived": {"": "a"}}, r"derived: expected a name for each"),
        ({"summary": {"group_by": ["a", "a"], "aggregates": {}}}, r"found 'a' twice"),
        ({"summary": {"group_by": ["a"], "aggregates": {"a": "COUNT(*)"}}}, r"found 'a' twice"),
        ({"summary": {"aggregates": {"n": "MAX(a) + MIN(a)"}}}, r"found 'MAX\(a\) \+ MIN\(a\)'"),
        ({"summary": {"aggregates": {"n": "COUNT(DISTINCT a)"}}}, r"found 'COUNT\(DISTINCT a\)'"),
        ("nowhere.toml", r"nowhere\.toml: expected a file, found nothing there"),
    ],
)
def test_rules_compile_tells_when_a_rule_cannot_mean_what_it_says(
    written: Written, tmp_path: Path, rules: Any, told: str
) -> None:
    """Rules that contradict themselves, or that would have to be rounded, give a reason, not a verdict."""
    reasons = gate.rules_compile(params_for(written("x.csv", "a,b\n1,2\n"), rules, tmp_path / "out"))
    assert reasons and re.search(told, reasons[0]), reasons


def test_rules_file_is_read_as_json_when_its_ending_is_in_capitals(written: Written, tmp_path: Path) -> None:
    """A key that stands twice in it is told: one of the two rules would have been left out."""
    source = written("x.csv", "a\n1\n")
    good, twice = written("r.JSON", '{"columns":{"a":{}}}'), written("t.json", '{"columns":{"a":{},"a":{}}}')
    assert gate.rules_compile(params_for(source, str(good), tmp_path / "out")) is None
    assert "the key 'a' stands there twice" in str(
        gate.rules_compile(params_for(source, str(twice), tmp_path))
    )


def test_columns_present_names_the_delimiter_when_another_one_is_in_the_header(
    written: Written, tmp_path: Path
) -> None:
    """Semicolons are what half of Europe's spreadsheets write."""
    params = params_for(written("x.csv", "a;b\n1;2\n"), {"columns": {"a": {}}}, tmp_path / "out")
    assert "name its delimiter: -p delimiter=';'" in str(gate.columns_present(params))


@pytest.mark.parametrize("first", [b"sep=;\r\n", b'"sep=;"\n', b"\xef\xbb\xbfSEP=;\n"])
def test_delimiter_is_the_one_that_the_file_names_when_it_is_made_for_a_spreadsheet(
    written: Written, tmp_path: Path, first: bytes
) -> None:
    """Excel writes and reads such a line before the header; it is neither a header nor a row."""
    source, rules = written("x.csv", first + b"a;b\n1;2,5\n3\n4;6\n"), {"columns": {"b": {}}}
    assert gate.columns_present(params_for(source, rules, tmp_path / "out")) is None
    run_whole(str(source), rules, tmp_path / "out", partition_bytes=1)
    assert valid_rows(tmp_path / "out") == [("1", "2,5"), ("4", "6")]
    assert [row["row"] for row in quarantined(tmp_path / "out")] == [2]


def test_dates_are_invalid_when_no_calendar_of_python_has_them(written: Written, tmp_path: Path) -> None:
    """Mistyped years ended the step; offsets and Z are read into UTC, beside naive ones."""
    rules = {
        "columns": {
            "d": {"type": "date"},
            "t": {"type": "datetime", "format": ["%Y-%m-%dT%H:%M%z", "%Y-%m-%dT%H:%M"], "min": "2020-01-01"},
        },
        "summary": {"aggregates": {"last": "MAX(t)"}},
    }
    rows = "0020-01-01,2020-01-01T00:00Z\n20200-01-01,2020-01-01T02:00+02:00\n-2020-01-01,2020-01-01T00:00\n"
    run_whole(str(written("x.csv", "d,t\n" + rows)), rules, tmp_path / "out")
    assert [row["rules"] for row in quarantined(tmp_path / "out")] == [["d.type"], ["d.type"]]
    summary = json.loads((tmp_path / "out" / "summary.json").read_bytes())["summary"]
    assert summary["rows"] == [["2020-01-01T00:00:00+00:00"]]


def test_share_is_told_when_it_is_very_small(written: Written, tmp_path: Path) -> None:
    """One bad row of very many is more than none."""
    rules = {"columns": {"a": {"type": "integer"}}, "max_invalid_share": 0}
    source = written("x.csv", "a\n" + "1\n" * 30_000 + "x\n")
    with pytest.raises(TooManyInvalid, match=r"at most 0\.00% invalid rows, found 1 of 30001 \(0\.0033%\)"):
        run_whole(str(source), rules, tmp_path / "out")
