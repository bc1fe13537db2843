"""Jobs that stand still: found, said once, and said again when they move.

Invariant: one alert when a job stalls and one when it recovers, each in the
script that notes it. A job whose step runs or waits for its timer, or that was
paused, does not stand still.
"""

from __future__ import annotations

import logging
import time

from coordinator.errors import JobNotFound
from coordinator.parts import Parts
from coordinator.quiet import QuietJobs
from coordinator.states import State

#: Looked at in one look.
AT_ONCE = 1000

logger = logging.getLogger("coordinator.alerts")


class Stalls:
    """Watches the jobs that have not ended. For one thread."""

    def __init__(self, parts: Parts, stalled_s: float) -> None:
        self._state = parts.state
        self._notifier = parts.notifier
        self._stalled_s = stalled_s
        self._quiet = QuietJobs(parts.state, stalled_s)
        self._pause_s = min(30.0, stalled_s / 4)
        self._next = 0.0  # monotonic

    def look(self) -> None:
        """Look at all jobs that nothing has moved for long, now and then."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._pause_s
        due = self._quiet.due(AT_ONCE)
        since_ms = int(self._state.now_ms() - self._stalled_s * 1000)
        for job, _ in due:
            if self._stands_still(job) and self._state.stall(job, since_ms, self._message()):
                self._notifier.log(f"job {job} is stalled: {self._message()}", job=job, severity="warning")
        for job in self._state.moved_again():
            if self._state.recover(job):
                self._notifier.log(f"job {job} goes on", job=job, severity="info")

    def _stands_still(self, job: str) -> bool:
        try:
            is_moving = self._state.state(job) in (State.RECEIVED, State.PROCESSING)
            return is_moving and not self._state.busy(job) and not self._postponed(job)
        except JobNotFound:
            return False

    def _postponed(self, job: str) -> set[str]:
        """Return the steps that wait for their countdown: they have not begun, so they are not busy."""
        plans = [self._state.plan(job), *self._state.fragments(job).values()]
        delayed = [step.key for plan in plans for step in plan.steps if step.is_delayed]
        return self._state.waiting(job, delayed)

    def _message(self) -> str:
        return (
            f"nothing has happened for {self._stalled_s:g} s and no step runs; "
            "does a worker consume its queue? `manage.py doctor` looks"
        )
