from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

from tests.unit.process_data.conftest import run_whole

DATA = Path(__file__).parents[3] / "data"


class Links(HTMLParser):
    """Collects what a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [tag] if tag in ("script", "link", "img", "iframe") else []
        self.found += [value for name, value in attrs if name in ("src", "href") and value]


def test_report_shows_the_dirt_of_the_shipped_data_when_run(tmp_path: Path) -> None:
    """The shipped rules find the dirt that data/README.md tells of, and the report is self-contained."""
    source, rules = str(DATA / "birdstrikes.csv"), str(DATA / "birdstrikes.rules.toml")
    result = run_whole(source, rules, tmp_path / "out", partition_bytes=200_000)
    assert (result["rows"], result["valid"], result["quarantined"]) == (10_000, 8851, 1149)
    assert result["rules"] == {
        "Aircraft Make Model.pattern": 15,
        "Effect Amount of damage.allowed": 15,
        "Aircraft Airline Operator.pattern": 1084,
        "repair_means_damage": 27,
        "moves_in_flight": 8,
        "taxies_slowly": 1,
    }
    page = (tmp_path / "out" / "report.html").read_text()
    links = Links()
    links.feed(page)
    assert links.found == []
    assert "US AIRWAYS*" in page and "2,836" in page


def test_report_shows_markup_as_text_when_data_holds_some(
    written: Callable[..., Path], tmp_path: Path
) -> None:
    """What a source holds can't become part of the page."""
    source = written("x.csv", "a,<b>\n<script>alert(1)</script>,2\n")
    run_whole(str(source), {"columns": {"a": {"allowed": ["{x}"]}}}, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;script&gt;" in page and not re.search("<script|<b>", page)
    assert "expected one of {x}" in page


def test_report_is_made_when_there_is_no_row(written: Callable[..., Path], tmp_path: Path) -> None:
    """A source that may be empty gives a manifest and a report all the same."""
    result = run_whole(str(written("x.csv", "a\n")), {}, tmp_path / "out", allow_empty=True)
    assert (result["rows"], result["parts"], result["share"]) == (0, 0, 0)
    assert "not a single row" in (tmp_path / "out" / "report.html").read_text()
