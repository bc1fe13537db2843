"""Each promise of docs/guarantees.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
#: ``test_loss.py`` or ``test_loss.py -k purged``, in backticks.
NAMED = re.compile(r"`(test_\w+\.py)(?: -k (\w+))?`")


def promises() -> list[tuple[str, str]]:
    """Return each promise with its last cell."""
    table = PAGE.partition("## Promises")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return [(row[0].strip(), row[-1]) for row in rows[1:]]


def names_of_tests(file: str) -> list[str]:
    """Return the tests of a file, wherever under tests/ it lies."""
    (path,) = (ROOT / "tests").rglob(file)
    return re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize(("promise", "tested_by"), promises(), ids=lambda text: text[:40])
def test_promise_names_a_test_that_exists_when_it_is_made(promise: str, tested_by: str) -> None:
    """A promise without a test is a wish."""
    named = NAMED.findall(tested_by)
    assert named, f"{promise!r} names no test"
    for file, word in named:
        assert [name for name in names_of_tests(file) if word in name], f"no test of {file} has {word!r}"


def test_page_has_promises_when_it_is_read() -> None:
    """The tests above have something to look at."""
    assert len(promises()) > 15
