"""What outlives workers and servers: cancelled stays cancelled, paused paused, and a retry still waits."""

from __future__ import annotations

import re

from celery import chain, group

from coordinator.errors import BatutaError
from coordinator.queues import look
from coordinator.states import State
from tests.faults.host_jobs import restless
from tests.faults.shapes import runs
from tests.flows import add, double, mark, total
from tests.waiting import wait_until


def launched(coordinator) -> str | None:
    """Submit one more job, once the servers take it."""
    try:
        return coordinator.launch(add.s(1, 1))
    except BatutaError:
        return None


def test_cancel_holds_when_nobody_lives_and_both_servers_are_killed(
    coordinator, start_worker, services, redis_server, tmp_path, request
):
    """Cancelled with no worker alive; broker and Redis die and come back: nothing of the job ever starts."""
    path = str(tmp_path / "runs")
    cancelled = coordinator.launch(chain(group(mark.si(n, path) for n in range(5)), total.s()))
    paused = coordinator.launch(chain(mark.si(7, path), double.s()))
    coordinator.cancel(cancelled, "no longer wanted")
    coordinator.pause(paused)

    if services.kind == "rabbitmq":
        request.getfixturevalue("rabbitmq").restart()
    redis_server.restart()
    start_worker()

    other = wait_until(lambda: launched(coordinator), what="a submit to be taken")
    assert coordinator.wait(other, timeout_s=30) == 2
    assert coordinator.status(cancelled).state == State.CANCELLED
    assert coordinator.status(cancelled).reason == "no longer wanted"
    assert coordinator.status(paused).state == State.PAUSED
    assert not runs(tmp_path / "runs")
    coordinator.resume(paused)
    assert coordinator.wait(paused, timeout_s=30) == 14
    coordinator.retry(cancelled)
    assert coordinator.wait(cancelled, timeout_s=30) == 10


def test_retries_wait_in_redis_with_back_off_and_jitter_when_their_worker_is_killed(
    coordinator, start_worker
):
    """``retry_backoff`` and ``retry_jitter``: no message waits, and another worker goes on in time."""
    env = {"COORDINATOR_JOBS": "tests.flows,tests.faults.host_jobs"}
    first = start_worker(env=env)
    jobs = [coordinator.launch(restless.s(2)) for _ in range(12)]
    wait_until(lambda: all(delays(coordinator, job) for job in jobs), what="each job's first retry")
    assert messages_waiting(coordinator) == 0
    first.kill()
    start_worker(env=env)

    assert all(coordinator.wait(job, timeout_s=30) >= 3 for job in jobs)  # the kill may have cost an attempt
    waited = [delays(coordinator, job) for job in jobs]
    assert all(len(delays) == 2 and delays[0] <= 2 and delays[1] <= 4 for delays in waited), waited
    assert len({tuple(delays) for delays in waited}) > 1, "no jitter"


def delays(coordinator, job: str) -> list[float]:
    """Return how long each retry of a job had to wait, in seconds."""
    found = (re.search(r"retry in ([\d.]+) s", event.detail) for event in coordinator.events(job))
    return [float(match[1]) for match in found if match]


def messages_waiting(coordinator) -> int:
    (queue,) = look(coordinator.app, [coordinator.settings.queue])
    return queue.messages or 0
