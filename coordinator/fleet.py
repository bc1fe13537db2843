"""A fleet: single-slot worker processes side by side, and another where one ends.

Owns their lives. Invariant: as many workers run as were asked for, until the fleet is told
to end; then all end as Celery's workers do, warm on the first signal and cold on the second.
Each is a whole Celery worker with the solo pool: no pipe between a parent and its children
is in the way of a step, which is what makes it faster than prefork. What the solo pool lacks
(time limits, an end for a step that won't stop) is in ``limits`` and the reconciler.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

#: Set in the environment of the fleet's workers: this process may end itself.
EXPENDABLE = "COORDINATOR_EXPENDABLE"
#: A worker that ends sooner than this after its start has not worked at all.
SHORT_LIFE_S = 3.0
#: So many short lives in a row end the fleet: something is wrong that a start does not mend.
SHORT_LIVES = 5
PAUSE_S = 0.2

logger = logging.getLogger(__name__)


class Fleet:
    """Keeps ``count`` workers running."""

    def __init__(self, command: Callable[[int], Sequence[str]], count: int) -> None:
        """Take the command line of the n-th worker (from 1) and how many there are."""
        self._command = command
        self._slots = range(1, count + 1)
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._started: dict[int, float] = {}
        self._short_lives = 0
        self._signals = 0
        self._told = 0  # the last signal that was passed on

    def run(self) -> int:
        """Run until told to end; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._on_signal)
        for slot in self._slots:
            self._start(slot)
        while not self._signals:
            for slot in self._ended():
                self._note_end(slot)
                if self._short_lives >= SHORT_LIVES:
                    self._tell(signal.SIGTERM)
                    return self._wait() or 1
                self._start(slot)
            time.sleep(PAUSE_S)
        return self._wait()

    def _start(self, slot: int) -> None:
        if self._signals:
            return
        env = {**os.environ, EXPENDABLE: "1"}
        self._workers[slot] = subprocess.Popen(self._command(slot), env=env)
        self._started[slot] = time.monotonic()
        if self._told:  # while it was being started, and could not be told
            self._workers[slot].send_signal(self._told)

    def _ended(self) -> list[int]:
        return [slot for slot, worker in self._workers.items() if worker.poll() is not None]

    def _note_end(self, slot: int) -> None:
        is_short = time.monotonic() - self._started[slot] < SHORT_LIFE_S
        self._short_lives = self._short_lives + 1 if is_short else 0
        logger.warning("worker-ended: %s with %s", slot, self._workers[slot].returncode)

    def _on_signal(self, number: int, _frame: object) -> None:
        self._signals += 1
        if number == signal.SIGINT:  # Celery counts its own, and has not seen the first as one
            number = signal.SIGTERM if self._signals == 1 else signal.SIGQUIT
        self._told = number
        self._tell(number)

    def _tell(self, number: int) -> None:
        for worker in self._workers.values():
            if worker.poll() is None:
                worker.send_signal(number)

    def _wait(self) -> int:
        return max((abs(worker.wait()) for worker in self._workers.values()), default=0)
