"""The no-op tasks of the benchmarks, on Batuta's app: workers import them through COORDINATOR_JOBS."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.stamps import stamped
from coordinator.app import app


@app.task
def noop(n: int) -> int:
    return n


@app.task
def nap(_: int) -> None:
    """Take 10 ms of time and none of the processor's."""
    time.sleep(0.01)


@app.task
def count(values: list[Any]) -> int:
    return len(values)


@app.task
def hop(n: int) -> int:
    return n + 1


@app.task
def stamp(n: int, path: str) -> int:
    return stamped(n, path)


@app.task
def added(values: list[int]) -> int:
    return sum(values)


@app.task(bind=True)
def later(self: Any) -> None:
    """Wait for an hour, as a retry does."""
    raise self.retry(countdown=3600)
