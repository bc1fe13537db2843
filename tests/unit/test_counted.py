"""Numbers and their nouns."""

from __future__ import annotations

import pytest

from coordinator.counted import counted


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((1, "message"), "1 message"),
        ((0, "message"), "0 messages"),
        ((2000, "entry", "entries"), "2,000 entries"),
        ((1, "entry", "entries"), "1 entry"),
    ],
)
def test_noun_agrees_when_a_number_stands_before_it(words, told):
    """One is one."""
    assert counted(*words) == told
