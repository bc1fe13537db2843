"""The events of all jobs, read as they happen."""

from __future__ import annotations

import pytest

from coordinator.states import State
from tests.flows import add
from tests.waiting import wait_until

pytestmark = pytest.mark.brokers("rabbitmq")

COUNT = 1_000


def test_feed_tells_every_event_once_when_jobs_run_beside_each_other(coordinator, start_worker):
    """From the moment it was opened: each job's events in their order, as the job itself has them."""
    coordinator.launch(add.s(1, 1), key="before")
    feed = coordinator.feed()
    start_worker(concurrency=2)
    jobs = [coordinator.launch(add.s(n, 1)) for n in range(12)]

    told = []
    wait_until(
        lambda: told.extend(feed.new()) or [e.event for e in told].count("succeeded") == len(jobs) + 1,
        what="all jobs to succeed",
    )

    for job in jobs:
        own = [(event.event, event.step, event.detail) for event in coordinator.events(job)]
        assert [(e.event, e.step, e.detail) for e in told if e.job == job] == own
    assert [event.event for event in told if event.job == "before"] == ["succeeded"]
    assert feed.new() == []


def test_feed_costs_the_same_when_many_jobs_are_kept(coordinator):
    """A look reads the shards and what is new, not the jobs."""
    state = coordinator.state_manager
    pipe = state.client.pipeline(transaction=False)
    for number in range(COUNT):
        job = f"j{number}"
        pipe.hset(state.keys.named(job, "m")[0], mapping={"state": "succeeded", "kind": "a"})
        pipe.zadd(state.keys.named(job, "jobs")[0], {job: number})
        pipe.xadd(
            state.keys.named(job, "events")[0], {"job": job, "event": "succeeded", "step": "", "detail": ""}
        )
    pipe.execute()
    feed = coordinator.feed()
    coordinator.launch(add.s(1, 1), key="new")
    before = state.client.info("stats")["total_commands_processed"]

    told = [event.job for _ in range(5) for event in feed.new()]

    spent = state.client.info("stats")["total_commands_processed"] - before
    assert told == ["new", "new"]  # submitted, processing
    assert spent < 100, "16 shards, 5 looks, one kind"


def test_feed_has_only_one_kind_when_asked(coordinator):
    """Jobs that Batuta itself runs are told of only then."""
    state = coordinator.state_manager
    for kind in ("a", "b", "coordinator.alert"):
        state.submit(f"{kind}-1", State.REJECTED, {"kind": kind, "version": "", "total": 0, "params": "{}"})
    state.note_event("gone", "redriven")

    def jobs(kind: str | None = None) -> set[str]:
        return {event.job for event in coordinator.feed(past=True).new(kind)}

    assert jobs() == {"a-1", "b-1", "gone"}
    assert jobs("b") == {"b-1"}
    assert jobs("coordinator.alert") == {"coordinator.alert-1"}


def test_event_names_its_step_when_a_timer_or_a_lease_was_over(coordinator):
    """What reads events, a script or a page, meets the step's key, not the mark of a trigger."""
    feed, job = coordinator.feed(), coordinator.launch(add.s(1, 1))
    coordinator.state_manager.note_event(job, "redriven", "=0", "1 message")
    for event in (coordinator.events(job)[-1], feed.new()[-1]):
        assert (event.step, event.is_due) == ("0", True)
