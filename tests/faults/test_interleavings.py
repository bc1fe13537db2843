"""Random jobs on processes that take turns at random, over a real Redis: no order of events breaks a rule."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from tests.faults.figures import INTERLEAVED, SAMPLE, SEED, tell

#: Celery says so of each chord with an error callback.
pytestmark = pytest.mark.filterwarnings("ignore:task_allow_error_cb_on_chord_header")

#: Seeds, and how long they may take, for each one of the sample; and where every point is asked for.
SEEDS, SECONDS = 40, 15.0
ALL_SEEDS, ALL_SECONDS = 3000, 300.0


def test_job_succeeds_by_the_rules_when_processes_take_turns_at_random(play, request):
    """Whatever is lost, doubled, killed or steered meanwhile; a failure says how to play the same again."""
    seeds, seconds = SEEDS * SAMPLE, SECONDS * SAMPLE
    if request.config.getoption("--every-point"):
        seeds, seconds = ALL_SEEDS, min(ALL_SECONDS, 60 * request.config.getoption("--minutes"))
    started, tally = time.monotonic(), Counter[str]()
    while tally["jobs"] < seeds and (time.monotonic() - started < seconds or not tally["jobs"]):
        history = play(SEED + tally["jobs"]).course.history
        tally["jobs"] += 1
        tally["events"] += len(history)
        tally["cancels"] += sum("cancelled" in event for event in history)
        tally["retries from a step"] += sum("retried from" in event for event in history)
    figures = ", ".join(f"{count:,} {what}" for what, count in tally.items())
    tell(INTERLEAVED, f"{figures} in {time.monotonic() - started:.0f} s: no rule was broken")


def test_course_is_the_same_when_its_seed_is(play):
    """So a failure that was seen once can be looked at again."""
    histories = [play(SEED).course.history for _ in range(2)]

    assert histories[0] == histories[1]
