"""The reference's tables, made from the source, and the look for requests to other sites."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The hooks of the site, found as mkdocs finds them."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_site"))
    import hooks

    yield hooks
    for name in ("hooks", "generate"):
        sys.modules.pop(name, None)


def test_settings_page_names_every_variable_that_the_code_reads(site: Any) -> None:
    """A setting that nobody can find is none."""
    page = (ROOT / "docs" / "reference" / "settings.md").read_text()
    told = page + site.generate.settings() + site.generate.web_settings()
    read = set()
    for path in (ROOT / "coordinator").rglob("*.py"):
        read |= set(re.findall(r'"(COORDINATOR_[A-Z_]+)"', path.read_text()))
    internal = {
        "COORDINATOR_READY_FILE",
        "COORDINATOR_EXPENDABLE",
    }  # set by our own processes for their children
    assert sorted(name for name in read - internal if f"`{name}" not in told) == []


def test_tables_are_filled_when_the_source_is_as_expected(site: Any) -> None:
    """Each table has its rows."""
    tables = {name: make() for name, make in site.generate.TABLES.items()}
    assert "| `leases` | zset |" in tables["redis-keys"]
    assert "| `failed` | `received`, `processing` |" in tables["transitions"]
    assert "| `expanded` |" in tables["step-states"]
    assert "| `delimiter` | not set |" in tables["process-data-params"]
    assert tables["decisions"].count("\n") + 1 == len(site.generate.decision_notes())


def test_link_is_text_when_its_file_is_not_part_of_the_site(site: Any) -> None:
    """A page that is also read in the repository has no dead links on the site."""

    class Page:
        class file:  # noqa: N801  mkdocs' own name
            src_uri = "howto/adopt-a-canvas.md"

    made = site.on_page_markdown("[the README](../../README.md), [canvas](../reference/canvas.md#race)", Page)
    assert made == "the README, [canvas](../reference/canvas.md#race)"


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example.com/a.js"></script>',
        '<link rel="stylesheet" href="//fonts.example.com/css">',
        '<img alt="" src=http://example.com/badge.svg>',
    ],
)
def test_page_is_told_of_when_it_would_ask_another_site(
    site: Any, html: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Reading the documents tells nobody that they are read."""

    class Page:
        class file:  # noqa: N801
            src_uri = "index.md"

    site.on_post_page('<a href="https://example.com/">there</a>', Page)
    assert not caplog.records
    site.on_post_page(html, Page)
    assert len(caplog.records) == 1


def test_conformance_page_has_the_row_of_every_shape() -> None:
    """The page is what the suite declares; ``python -m tests.integration.conformance.table`` writes it."""
    from tests.integration.conformance.table import as_markdown

    assert (ROOT / "docs" / "reference" / "conformance.md").read_text() == as_markdown()
