"""A submit is whole or absent, and one however often it is made."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from celery.signals import before_task_publish

from coordinator.errors import InvalidRequest
from coordinator.states import State
from tests.flows import add, mark


def test_key_makes_one_job_when_submitted_twice(coordinator, start_worker, tmp_path):
    """The idempotency key: the second submit changes nothing."""
    start_worker()
    canvas = mark.s("once", str(tmp_path / "runs"))

    first = coordinator.launch(canvas, key="2026/orders")
    second = coordinator.launch(canvas, key="2026/orders")

    assert first == second == "2026/orders"
    coordinator.wait(first, timeout_s=20)
    assert (tmp_path / "runs").read_text() == "once\n"
    with pytest.raises(InvalidRequest, match="another key"):
        coordinator.submit("sum_to", {"n": 2}, key="2026/orders")


@pytest.mark.parametrize(("n", "status"), [(2, "accepted"), ("x", "rejected")])
def test_submit_is_no_duplicate_of_itself_when_the_answer_was_lost(n, status, coordinator, monkeypatch):
    """The client makes the call again, on another connection."""
    scripts = coordinator.state_manager._run
    ask = scripts.keeping
    monkeypatch.setattr(scripts, "keeping", lambda *call: (ask(*call), ask(*call))[1])

    receipts = [coordinator.submit("sum_to", {"n": n}, key="key") for _ in range(2)]

    assert [receipt.status for receipt in receipts] == [status, "duplicate"]


def test_key_makes_one_job_when_many_submit_it_at_once(coordinator, start_worker, tmp_path):
    """One of them makes the job; the others find it."""
    start_worker()
    at_once = threading.Barrier(8)

    def submit(_: int) -> str:
        at_once.wait(timeout=20)
        try:
            return coordinator.launch(mark.s("once", str(tmp_path / "runs")), key="same")
        finally:
            coordinator.app.parts.dispatcher.close()  # each thread has a connection of its own

    with ThreadPoolExecutor(at_once.parties) as threads:
        jobs = list(threads.map(submit, range(at_once.parties)))

    assert set(jobs) == {"same"}
    coordinator.wait("same", timeout_s=20)
    assert [event.event for event in coordinator.events("same")].count("submitted") == 1
    assert (tmp_path / "runs").read_text() == "once\n"


def test_submit_is_accepted_when_redis_goes_away_after_it_was_recorded(elsewhere, own_redis):
    """An error would say that there is no job; what could not be noted is left to the reconciler."""
    facade = elsewhere(redis_url=own_redis.url(1))

    def kill(**_publish):
        own_redis.kill()

    before_task_publish.connect(kill)
    try:
        job = facade.launch(add.s(1, 2))
    finally:
        before_task_publish.disconnect(kill)

    own_redis.start()
    assert facade.status(job).state == State.PROCESSING
    assert [step.key for step in facade.steps(job)] == ["0"]
