"""Quiet jobs are found, all of them, and cost next to nothing while they wait."""

from __future__ import annotations

import pytest
from celery import group

from coordinator import quiet
from coordinator.quiet import QuietJobs
from coordinator.watermark import Watermark
from tests.facade import queue_of
from tests.flows import add
from tests.waiting import wait_until


@pytest.fixture
def state(coordinator):
    return coordinator.state_manager


def make_quiet(state, jobs, moved_ms: int) -> None:
    """Let jobs look as if they had moved last at a time."""
    for job in jobs:
        state.client.zadd(state.keys.named(job, "active")[0], {job: moved_ms})


@pytest.mark.brokers("rabbitmq")
def test_quiet_jobs_are_all_found_when_they_are_more_than_a_page(state, monkeypatch):
    """No job hides behind others that have been quiet for longer."""
    monkeypatch.setattr(quiet, "AT_ONCE", 10)
    old = state.now_ms() - 60_000
    jobs = [f"job-{number}" for number in range(1000)]
    for number, job in enumerate(jobs):
        make_quiet(state, [job], old + number // 5)
    found = QuietJobs(state, quiet_s=5)

    seen = [job for _ in range(20) for job, _ in found.due(200)]

    assert sorted(seen) == sorted(jobs)  # each once


@pytest.mark.brokers("rabbitmq")
def test_quiet_job_is_not_read_again_when_nothing_moves_it(state):
    """Between two looks at a job only the new ones of the index are read."""
    make_quiet(state, ["job-1"], state.now_ms() - 60_000)
    found = QuietJobs(state, quiet_s=5)
    assert found.due(200) == [("job-1", True)]
    state.client.config_resetstat()

    assert found.due(200) == []

    calls = state.client.info("commandstats")
    assert "cmdstat_zscore" not in calls
    assert calls["cmdstat_zrangebyscore"]["calls"] == len(state.shards)


@pytest.mark.brokers("rabbitmq")
def test_quiet_job_is_new_again_when_it_has_moved(state, monkeypatch):
    """Progress starts the looks over."""
    monkeypatch.setattr(quiet, "SPREAD", (0, 0))  # the next look is due at once
    make_quiet(state, ["job-1"], state.now_ms() - 60_000)
    found = QuietJobs(state, quiet_s=0.5)

    assert found.due(200) == [("job-1", True)]
    assert found.due(200) == [("job-1", False)]
    make_quiet(state, ["job-1"], state.now_ms())
    assert found.due(200) == []
    assert wait_until(lambda: found.due(200)) == [("job-1", True)]


@pytest.mark.brokers("rabbitmq")
def test_quiet_job_is_found_when_redis_has_an_older_time_of_it(state, monkeypatch):
    """A Redis that lost its last second brings back times that had been read past."""
    monkeypatch.setattr(quiet, "WHOLE_EVERY_S", 0)
    found = QuietJobs(state, quiet_s=5)
    assert found.due(200) == []
    make_quiet(state, ["job-1"], state.now_ms() - 60_000)

    assert found.due(200) == [("job-1", True)]


@pytest.mark.brokers("rabbitmq")
def test_lost_message_is_sent_again_when_another_queue_of_the_job_is_never_read(
    coordinator, start_worker, services
):
    """A step is judged by the probe of its own queue."""
    unread = f"{services.env['COORDINATOR_QUEUE']}-unread"
    job = coordinator.launch(group(add.s(1, 1), add.s(2, 2).set(queue=unread)))
    with queue_of(coordinator) as queue:
        assert queue.purge() == 1
    start_worker()

    wait_until(lambda: coordinator.status(job).steps_done == 1, what="the lost step to run")

    assert [event.step for event in coordinator.events(job) if event.event == "redriven"]


@pytest.mark.brokers("rabbitmq")
def test_watermark_reads_all_queues_at_once_when_many_jobs_wait_for_probes(coordinator, services, state):
    """What waits in queues that nobody reads costs the reconciler one read, however much it is."""
    services.env["COORDINATOR_TICK_S"] = "600"
    prefix = services.env["COORDINATOR_QUEUE"]
    jobs = [coordinator.launch(add.s(1, 1).set(queue=f"{prefix}-{number % 3}")) for number in range(30)]
    watermark = Watermark(coordinator.app.parts)
    for job in jobs:
        watermark.suspect(job, is_first=True)
    watermark.settle(float("inf"))  # sends the probes
    state.client.config_resetstat()

    for job in jobs:
        watermark.suspect(job, is_first=False)
    watermark.settle(float("inf"))

    calls = state.client.info("commandstats")
    assert {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in calls.items()} == {
        "zmscore": 1,
        "config|resetstat": 1,
    } | {name: 1 for name in ("info",) if "cmdstat_info" in calls}
