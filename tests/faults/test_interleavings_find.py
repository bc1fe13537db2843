"""The random interleavings find what they look for: a rule that is taken out is missed within few seeds."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from coordinator.state import connection
from tests.faults.figures import POWER, tell
from tests.faults.interleaved.interleaving import Foul

#: Celery says so of each chord with an error callback.
pytestmark = pytest.mark.filterwarnings("ignore:task_allow_error_cb_on_chord_header")

#: Played until the fault is found; always the same ones, so that a run does not depend on luck.
SEEDS = range(1, 31)


class Rule(NamedTuple):
    """A rule in a script, and the script without it."""

    head: str  # how the script begins
    text: str
    instead: str = ""


RULES = {
    "a late writer is refused by its fence": Rule(
        "-- Record a step's result",
        "if not a or a.live ~= 1 or a.attempt ~= tonumber(ARGV[3]) then",
        "if not a then",
    ),
    "steps that are forgotten are counted again": Rule(
        "-- Take a step and all that came of it",
        "for join, count in pairs(goes['counts']) do redis.call('HSET', KEYS[6], join, count) end",
    ),
    "the epoch rises with a retry from a step": Rule(
        "-- Take a step and all that came of it", "redis.call('HINCRBY', KEYS[1], 'epoch', 1)"
    ),
    "nothing begins while a job is paused, or has ended": Rule(
        "-- Take the right to run a step",
        "elseif state ~= 'processing' or not meta[2] then",
        "elseif false then",
    ),
}


@pytest.fixture
def take_out(monkeypatch):
    """Take a rule out of the script that keeps it, for every process that starts from now on."""

    def take_out(rule: Rule) -> None:
        whole = connection._whole

        def broken(text: str, preludes: dict[str, str]) -> str:
            if text.startswith(rule.head):
                assert rule.text in text, f"expected {rule.text!r} in the script: take it out where it is now"
                text = text.replace(rule.text, rule.instead)
            return whole(text, preludes)

        monkeypatch.setattr(connection, "_whole", broken)

    return take_out


@pytest.mark.parametrize("name", RULES)
def test_referee_finds_the_fault_when_a_script_lacks_a_rule(name, take_out, play):
    """Few random jobs are enough."""
    take_out(RULES[name])

    for seed in SEEDS:
        try:
            play(seed)
        except Foul as foul:
            tell(POWER, f"scripts without “{name}”: found at seed {seed}: {foul}")
            return
    pytest.fail(f"{len(SEEDS)} seeds found nothing")
