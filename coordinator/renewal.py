"""Lengthen the leases of the steps that this worker runs, and end those that must not run.

In a thread of its own: repair may take long, and a lease that nobody lengthens is taken
back. Invariant: it goes on through a warm shutdown, until no step runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from typing import Any

from celery.worker import state as worker_state

from coordinator.attempt import owner_of
from coordinator.errors import StateUnreachable
from coordinator.limits import is_expendable
from coordinator.parts import Parts
from coordinator.state import parse_step_id

logger = logging.getLogger(__name__)

#: A step that has run for longer has its lease renewed at each tick.
RENEWED_AFTER_S = 0.5
#: From the end of a race to the end of a loser's process.
RACE_GRACE_S = 0.3
#: The pool looks for lost children every few seconds: until then their steps seem to run.
ENDED_AGAIN_AFTER_S = 10.0
#: Between two ticks at least.
SHORT_PAUSE_S = 0.05


class Renewal:
    """Looks after the running steps of one worker. For one thread."""

    def __init__(self, parts: Parts, hostname: str) -> None:
        self._settings = parts.settings
        self._state = parts.state
        self._owner = owner_of(hostname)
        self._stopped: dict[str, float] = {}  # running steps that should not run, till when (monotonic)
        self._unreached: dict[str, float] = {}  # running steps whose Redis was away, and when (monotonic)

    @property
    def is_idle(self) -> bool:
        """Whether this worker runs no step."""
        return not worker_state.active_requests

    def pause_s(self) -> float:
        """Return how long to wait for the next tick: less where a step is about to be ended."""
        ends = min(self._stopped.values(), default=float("inf"))
        return min(self._settings.tick_s, max(SHORT_PAUSE_S, ends - time.monotonic()))

    def tick(self) -> None:
        """Lengthen the leases of the steps that have been running for a while.

        A step whose job was cancelled, or whose lease another worker has, is ended after the grace.

        Raises:
            StateUnreachable: for some jobs; the others were looked after. A cluster's node may be away
                for long, and a call to it takes seconds: those that failed before come last, one in a tick.
        """
        now = time.monotonic()
        away: StateUnreachable | None = None
        running = {request.id: request for request in list(worker_state.active_requests)}
        for task_id in sorted(running, key=lambda task_id: self._unreached.get(task_id, 0.0)):
            try:
                self._look_after(running[task_id], now)
                self._unreached.pop(task_id, None)
            except StateUnreachable as error:
                is_again, away = task_id in self._unreached, error
                self._unreached[task_id] = now
                if is_again:
                    break
        self._unreached = {task_id: at for task_id, at in self._unreached.items() if task_id in running}
        self._stopped = {task_id: ends for task_id, ends in self._stopped.items() if task_id in running}
        for task_id, ends in self._stopped.items():
            if now > ends and task_id not in self._unreached:  # else its job may have been retried since
                _end(running[task_id])
                self._stopped[task_id] = now + ENDED_AGAIN_AFTER_S
        if away:
            raise away

    def _look_after(self, request: Any, now: float) -> None:
        step = parse_step_id(request.id)
        if not step or not _has_run_for_a_while(request):
            return
        verdict, state = self._state.renew(*step, self._owner)
        if verdict == "lost" or (verdict == "renewed" and state in ("cancelled", "gone")):
            grace_s = self._settings.grace_s if state != "lost" else RACE_GRACE_S
            self._stopped.setdefault(request.id, now + grace_s)
        else:  # retried before its time was up, or it sends what follows
            self._stopped.pop(request.id, None)


def _has_run_for_a_while(request: Any) -> bool:
    """Whether a step is worth a call. The host's clock tells its start, and may be set back meanwhile."""
    return bool(request.time_start) and not 0 <= time.time() - request.time_start <= RENEWED_AFTER_S


def _end(request: Any) -> None:
    """Kill the child that runs a stopped step; pools without children let it run on."""
    if request not in worker_state.active_requests:
        return  # it has ended meanwhile, and its process may run another
    if request.worker_pid and (request.worker_pid != os.getpid() or is_expendable()):
        logger.warning("step-ended: %s went on though it was told to stop", request.id)
        with contextlib.suppress(ProcessLookupError):
            os.kill(request.worker_pid, signal.SIGKILL)
