"""Time limits for a worker that runs its steps in its own process.

Owns what Celery's prefork pool does and its solo pool does not. Invariant: it acts only
in a worker that is *expendable*: one of a fleet, which starts another where one ends.
The soft limit is raised in the step; the hard one fails the step and ends the process.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from coordinator.fleet import EXPENDABLE


def is_expendable() -> bool:
    """Whether this process may end itself: another will take its place."""
    return os.environ.get(EXPENDABLE) == "1"


@contextmanager
def limits(task: Any, on_hard_limit: Callable[[float], None]) -> Iterator[None]:
    """Enforce the time limits of a task's present request while its body runs.

    Args:
        task: the task; the limits of its request go before its own.
        on_hard_limit: called in a thread with the limit (s), just before the process ends.
    """
    hard_s, soft_s = task.request.timelimit or (None, None)
    hard_s, soft_s = hard_s or task.time_limit, soft_s or task.soft_time_limit
    if not (hard_s or soft_s) or not is_expendable():
        yield
        return
    watch = threading.Timer(hard_s, _end, (on_hard_limit, hard_s)) if hard_s else None
    previous = signal.signal(signal.SIGALRM, _raise_soft)
    if soft_s:
        signal.setitimer(signal.ITIMER_REAL, soft_s)
    if watch:
        watch.daemon = True
        watch.start()
    try:
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:  # also where the soft limit is raised just before its timer is taken back
        signal.signal(signal.SIGALRM, previous)
        if watch:
            watch.cancel()


def end_process() -> None:
    """End this process as a crash would: nothing is acknowledged, nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


def _end(on_hard_limit: Callable[[float], None], hard_s: float) -> None:
    try:
        on_hard_limit(hard_s)
    finally:
        end_process()


def _raise_soft(*_signal: object) -> None:
    raise SoftTimeLimitExceeded
