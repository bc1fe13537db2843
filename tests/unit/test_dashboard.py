from __future__ import annotations

import logging

from coordinator.dashboard.templates import Templates, with_link
from coordinator.dashboard.timeline import timeline
from coordinator.state.standing import Ran
from coordinator.states import Event


def test_timeline_stays_small_when_attempts_are_many():
    """A hundred thousand attempts make no larger a picture than their pixels."""
    ran = [Ran(f"{n}", 1, 10 * n, 10 * n + 8, f"worker-{n % 3}@host", "succeeded") for n in range(100_000)]

    svg = timeline(ran, [], now_ms=2_000_000)

    assert len(svg) < 600_000 and "33,334" not in svg and "attempts</title>" in svg


def test_timeline_marks_what_went_wrong_when_steps_ran_again():
    """Retries and losses have a row of their own; a timer that fired as it should is no loss."""
    events = [
        Event("1-0", 1000, "j", "retry", "0", "retry in 2 s: <timeout>"),
        Event("2-0", 3000, "j", "redriven", "0", "1 message", is_due=True),
        Event("3-0", 5000, "j", "lease-expired", "0", "attempt 2"),
    ]

    svg = timeline([Ran("0", 3, 6000, 7000, "w@h", "succeeded")], events, now_ms=9000)

    assert svg.count("timeline-mark-retry") == 1 and svg.count("timeline-mark-lost") == 1
    assert "&lt;timeout&gt;" in svg


def test_timeline_is_empty_when_nothing_ran():
    """No axis stands around nothing."""
    assert timeline([], [], now_ms=1) == ""


def test_timeline_draws_a_failed_attempt_to_its_end_when_the_event_tells_it():
    """What the journal does not say of a failed attempt, its event does."""
    failed = Ran("4", 2, 1000, None, "w@h", "failed")
    events = [Event("1-0", 3500, "j", "step-failed", "4", "ValueError")]

    assert "failed, 2,500 ms" in timeline([failed], events, now_ms=99_000)


def test_every_page_of_flower_has_the_link_when_its_navigation_is_the_one_we_know():
    """A new Flower whose navigation differs must be noticed here, before anybody misses the tab."""
    assert Templates().load("navbar.html").code.count(">Jobs</a>") == 1


def test_pages_answer_without_the_link_when_flower_has_changed(caplog):
    """An unknown navigation is left as it is, and the log says where the jobs are."""
    with caplog.at_level(logging.WARNING):
        assert with_link("<nav>new</nav>") == "<nav>new</nav>"
    assert "/jobs" in caplog.text
