"""The no-op tasks of the benchmarks, the same for each application that a process makes.

Batuta's workers import them through COORDINATOR_JOBS, plain Celery's with ``benchmarks.plain_app``.
"""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import Any

from celery import Celery, shared_task


@shared_task
def noop(n: int) -> int:
    return n


@shared_task
def nap(_: int) -> None:
    """Take 10 ms of time and none of the processor's."""
    time.sleep(0.01)


@shared_task
def count(values: list[Any]) -> int:
    return len(values)


@shared_task
def hop(n: int) -> int:
    return n + 1


@shared_task
def stamp(n: int, path: str) -> int:
    """Note the time in a file, for the hops of a chain to be read from it."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, f"{time.monotonic()!r}\n".encode())  # one clock for all processes of a machine
    finally:
        os.close(file)
    return n + 1


@shared_task
def added(values: list[int]) -> int:
    return sum(values)


@shared_task(bind=True)
def later(self: Any) -> None:
    """Wait for an hour, as a retry does."""
    raise self.retry(countdown=3600)


def tasks_of(app: Celery) -> SimpleNamespace:
    """The tasks as one application has them, in a process that has several."""
    own = {name: task for name, task in app.tasks.items() if name.startswith(f"{__name__}.")}
    return SimpleNamespace(**{name.rpartition(".")[2]: task for name, task in own.items()})
