"""Times, lengths and how to call the program again."""

from __future__ import annotations

import sys
import time

import pytest

from coordinator.cli import output
from coordinator.cli.session import program_name


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, ""),
        (0, "0 ms"),
        (1, "1 ms"),
        (999, "999 ms"),
        (1000, "1 s"),
        (1500, "1.5 s"),
        (59_000, "59 s"),
        (90_000, "1.5 min"),
        (7_200_000, "2 h"),
        (86_400_000 * 12, "12 d"),
        (-5, "0 s"),
    ],
)
def test_span_is_in_its_largest_unit(ms, text):
    """A length of time is read at a glance."""
    assert output.span(ms) == text


def test_age_is_zero_when_the_clocks_differ():
    """A server's clock that runs ahead doesn't show a negative age."""
    assert output.age(int(time.time() * 1000) + 60_000) == "0 s ago"


def test_one_line_cuts_when_too_long():
    """Long values don't push the rest away."""
    assert output.one_line("a\n  b " * 90, 10) == "a b a b a…"


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("/usr/local/bin/batuta", "batuta"),
        ("manage.py", "manage.py"),
        ("x/coordinator/cli/__main__.py", "-m coordinator.cli"),
    ],
)
def test_program_is_named_as_it_was_called(monkeypatch, script, name):
    """What is printed can be pasted."""
    monkeypatch.setattr(sys, "argv", [script])
    assert program_name().endswith(name)
