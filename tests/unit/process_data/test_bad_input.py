"""What can be wrong with a request: told with file, row and column; nothing is published."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.process_data import gate
from tasks.process_data.errors import DestinationError, RulesError, SourceError, TooManyInvalid
from tests.unit.process_data.conftest import params_for, run_whole


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("empty.csv", b"", r"empty\.csv: expected a header and rows, found an empty file"),
        ("mark.csv", b"\xef\xbb\xbf\n", r"mark\.csv: expected a header and rows, found an empty file"),
        ("twice.csv", b"a,b,a\n1,2,3\n", r"twice\.csv: .*found 'a' as column 1 and 3"),
        ("header.csv", b"a,b\n", r"header\.csv: expected at least one row, found only a header"),
        ("latin.csv", "é,b\n1,2\n".encode("latin-1"), r"latin\.csv: header: .*found '\\xe9'; name it"),
        ("open.csv", b'a,b\n1,2\n3,"4\n5,6\n', r"open\.csv: row 2, column 'b': expected a closing quote"),
        (
            "cut.csv.gz",
            gzip.compress(b"a,b\n" + b"1,2\n" * 999, mtime=0)[:-9],
            r"cut\.csv\.gz: .*truncated after \d+ bytes",
        ),
        (
            "bad.csv.gz",
            gzip.compress(b"a,b\n1,2\n", mtime=0)[:10] + b"\xff" * 99,
            r"bad\.csv\.gz: expected gzip, but it is damaged",
        ),
        ("bad.parquet", b"PAR1 is not enough", r"bad\.parquet: expected Parquet"),
        ("odd.xyz", b"a\n1\n", r"odd\.xyz: expected a name that ends in \.csv"),
        ("list.jsonl", b"[1]\n", r"list\.jsonl: expected one JSON object a line"),
    ],
)
def test_source_is_refused_when_it_is_bad(
    written: Callable[..., Path], tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    """The error names the file, and the row and column where there is one."""
    with pytest.raises(SourceError, match=told):
        run_whole(str(written(name, content)), {}, tmp_path / "out", partition_bytes=64)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_readable_tells_when_a_source_is_missing_or_a_folder(tmp_path: Path) -> None:
    """What isn't there, and what is no file, is told before any work."""
    for source, told in [
        ("gone.csv", "found nothing there"),
        ("*.csv", "found none"),
        (".", "found a folder"),
    ]:
        reasons = gate.readable(params_for(tmp_path / source, {}, tmp_path / "out"))
        assert reasons and told in reasons[0]


def test_readable_is_content_when_the_source_is_sound(written: Callable[..., Path], tmp_path: Path) -> None:
    """A check that finds nothing answers None."""
    params = params_for(
        written("x.csv", "a,b\n1,2\n"), {"columns": {"a": {"type": "integer"}}}, tmp_path / "out"
    )
    checks = (gate.readable, gate.rules_compile, gate.columns_present, gate.destination_free)
    assert [check(params) for check in checks] == [None] * 4


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"row_rules": {"r": "a +"}}, r"row_rules\.r: expected an SQL expression, found 'a \+'"),
        ({"row_rules": {"r": "missing > 1"}}, r"row_rules\.r: there is no column 'missing'"),
        ({"row_rules": {"r": "a > AVG(a)"}}, r"row_rules\.r: AVG is not a function on one row"),
        ({"row_rules": {"r": "a IN (SELECT 1)"}}, r"expected an expression on one row, found SELECT"),
        ({"row_rules": {"r": "a"}}, r"expected an expression that is true or false, found String"),
        ({"derived": {"d": "LOWR(a)"}}, r"LOWR is not a function on one row.*did you mean LOWER"),
        ({"derived": {"b": "a"}}, r"derived\.b: the source has a column of that name"),
        ({"columns": {"a": {"pattern": "("}}}, r"columns\.a\.pattern: can't work on these columns"),
        (
            {"columns": {"a": {"type": "date", "min": "soon"}}},
            r"columns\.a\.min: expected a date, found 'soon'",
        ),
        ({"columns": {"a": {"typ": "date"}}}, r"columns\.a\.typ is not something rules have"),
        ({"columns": {"a": {"type": "money"}}}, r"columns\.a\.type: input should be 'string'"),
        ({"summary": {"aggregates": {"n": "MEDIAN(a)"}}}, r"expected COUNT\(\*\), or COUNT, SUM"),
        ({"summary": {"aggregates": {"n": "SUM(a)"}}}, r"expected a number to add up, found String"),
        ({"summary": {"group_by": ["z"], "aggregates": {}}}, r"summary\.group_by: there is no column 'z'"),
    ],
)
def test_rules_compile_tells_when_a_rule_is_bad(
    written: Callable[..., Path], tmp_path: Path, rules: dict[str, Any], told: str
) -> None:
    """A rule that can't work is told by its place in the rules, before any row is read."""
    reasons = gate.rules_compile(params_for(written("x.csv", "a,b\n1,2\n"), rules, tmp_path / "out"))
    assert reasons and re.search(told, reasons[0]), reasons


def test_rules_compile_tells_the_line_when_toml_does_not_parse(
    written: Callable[..., Path], tmp_path: Path
) -> None:
    """A rules file that does not parse is told with its line."""
    rules = str(written("r.toml", "columns = {\n"))
    reasons = gate.rules_compile(params_for(written("x.csv", "a\n1\n"), rules, tmp_path / "out"))
    assert reasons and "expected TOML, but it does not parse" in reasons[0] and "line" in reasons[0]


def test_columns_present_tells_when_a_rule_names_no_column(
    written: Callable[..., Path], tmp_path: Path
) -> None:
    """A rule on a column that isn't there names the file, the column and the nearest ones."""
    rules = {"columns": {"amont": {}}}
    reasons = gate.columns_present(params_for(written("x.csv", "amount\n1\n"), rules, tmp_path / "out"))
    assert (
        reasons
        and "x.csv: expected the column 'amont'" in reasons[0]
        and "did you mean 'amount'" in reasons[0]
    )


def test_columns_present_tells_when_sources_disagree(written: Callable[..., Path], tmp_path: Path) -> None:
    """Sources of one request have the same columns."""
    written("a.csv", "x,y\n1,2\n")
    written("b.csv", "x,z\n1,2\n")
    reasons = gate.columns_present(params_for(tmp_path / "*.csv", {}, tmp_path / "out"))
    assert reasons and "b.csv: expected the column 'y' of a.csv" in reasons[0]


def test_job_fails_with_the_first_reasons_when_too_many_rows_are_invalid(
    written: Callable[..., Path], tmp_path: Path
) -> None:
    """Over the accepted share nothing is published, and the quarantine stays to be looked at."""
    source = str(written("x.csv", "a\n1\nb\nc\n"))
    rules = {"columns": {"a": {"type": "integer"}}, "max_invalid_share": 0.5}
    with pytest.raises(
        TooManyInvalid,
        match=r"at most 50.00% invalid rows, found 2 of 3.*x\.csv row 2: a: expected an integer",
    ):
        run_whole(source, rules, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert list((tmp_path / "out" / ".batuta").rglob("quarantine-*.jsonl"))


def test_job_fails_when_a_rule_breaks_on_a_value(written: Callable[..., Path], tmp_path: Path) -> None:
    """An expression that fails on some row says so, and what to use instead."""
    source = str(written("x.csv", "a\n1\nb\n"))
    with pytest.raises(RulesError, match=r"derived\.d: failed on rows of x\.csv: .*use TRY_CAST"):
        run_whole(source, {"derived": {"d": "CAST(a AS INTEGER)"}}, tmp_path / "out")


def test_clean_refuses_when_the_source_changed_since_the_survey(
    written: Callable[..., Path], tmp_path: Path
) -> None:
    """Byte ranges of a file that has changed mean nothing, so they are not read."""
    from tasks.process_data.clean import clean
    from tasks.process_data.survey import survey
    from tasks.process_data.workspace import Workspace

    source = written("x.csv", "a\n1\n2\n")
    params = params_for(source, {}, tmp_path / "out")
    workspace = Workspace(tmp_path / "out", "job")
    items = survey(params, workspace)
    source.write_text("a\n1\n22\n")
    with pytest.raises(SourceError, match=r"x\.csv: .*has changed since"):
        clean(workspace, items[0])


@pytest.mark.parametrize("place", ["taken", "file/below", "/proc/nowhere"])
def test_destination_free_tells_when_it_cannot_be_used(
    written: Callable[..., Path], tmp_path: Path, place: str
) -> None:
    """Another's output, a file in the way, and a place that can't be written are told before any work."""
    source = written("x.csv", "a\n1\n")
    written("file", "")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "manifest.json").write_text('{"rows": 7}')
    reasons = gate.destination_free(params_for(source, {}, tmp_path / place))
    assert reasons and "expected a" in reasons[0] and "name another destination" in reasons[0]


def test_publish_refuses_when_another_run_finished_meanwhile(
    written: Callable[..., Path], tmp_path: Path
) -> None:
    """Two jobs for one destination can't mix their output."""
    source = str(written("x.csv", "a\n1\n"))
    run_whole(source, {}, tmp_path / "out", job_id="one")
    with pytest.raises(DestinationError, match="found the output of another run"):
        run_whole(source, {}, tmp_path / "out", job_id="two")
