from __future__ import annotations

import pytest

from coordinator.state import StateManager
from coordinator.state.overview import Cursor
from coordinator.states import State

COUNT = 1_234


@pytest.fixture
def state(coordinator) -> StateManager:
    """A state manager with many jobs: 1 in 100 failed, 1 in 2 of kind b, many made in one millisecond."""
    state = coordinator.state_manager
    pipe = state.client.pipeline(transaction=False)
    for number in range(COUNT):
        job, created = f"j{number:05}", 1_000_000 + number // 40
        word = "failed" if number % 100 == 7 else "succeeded"
        meta = {"state": word, "kind": "ab"[number % 2], "created": created, "total": 2}
        pipe.hset(state.keys.named(job, "m")[0], mapping=meta)
        pipe.hset(state.keys.named(job, "r")[0], "0", '[1,1,1,1,"w"]')
        pipe.zadd(state.keys.named(job, "jobs")[0], {job: created})
    pipe.execute()
    return state


def all_pages(state_manager: StateManager, **filters) -> list[str]:
    found, cursor = [], None
    while True:
        page = state_manager.page(cursor=cursor, **filters)
        found += [job.id for job in page.jobs]
        if not (cursor := page.next):
            return found


def test_pages_show_every_job_once_when_many_were_made_at_once(state):
    """One after the other the pages give all jobs of all shards, newest first."""
    assert all_pages(state, limit=100) == [f"j{number:05}" for number in reversed(range(COUNT))]


def test_pages_stay_as_they_are_when_a_job_comes_between(state):
    """A new job stands on the first page and moves nothing on the second."""
    first = state.page(limit=10)
    state.submit("new", State.REJECTED, {"kind": "a", "version": "", "total": 0, "params": "{}"})

    assert [job.id for job in state.page(cursor=Cursor.read(str(first.next)), limit=3).jobs] == [
        "j01223",
        "j01222",
        "j01221",
    ]
    assert [job.id for job in state.page(limit=2).jobs] == ["new", "j01233"]


def test_page_has_only_what_was_asked_for_when_filtered(state):
    """By state, kind and the start of the id; progress comes along."""
    failed = all_pages(state, state="failed", limit=5)
    assert failed == [f"j{number:05}" for number in range(1207, 0, -100)]
    assert len(all_pages(state, kind="a", limit=50)) == COUNT // 2
    assert all_pages(state, prefix="j0012", kind="b") == ["j00129", "j00127", "j00125", "j00123", "j00121"]
    assert (state.page(limit=1).jobs[0].steps_done, state.page(limit=1).jobs[0].steps_total) == (1, 2)


def test_page_of_moving_jobs_comes_from_their_index_when_asked_by_state(state, coordinator):
    """Jobs that have not ended are found at once, however many have ended."""
    from tests.flows import add

    job = coordinator.launch(add.s(1, 2))

    page = state.page(state="processing")
    assert ([found.id for found in page.jobs], page.next) == ([job], None)
    assert state.counts() == {"jobs": COUNT + 1, "active": 1}


def test_page_ends_when_nothing_is_left(state):
    """A page that takes the last job has no ``next``."""
    page = state.page(limit=COUNT)

    assert (len(page.jobs), page.next) == (COUNT, None)
    assert state.page(prefix="nobody").jobs == []
