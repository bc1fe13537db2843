"""Measure the user's own cluster with jobs of its own: how fast it submits, hands on and joins.

Owns ``manage.py bench``: the small jobs and their figures. Invariants: the jobs are of an
internal kind, go to a queue as any job does, and a job that did not end in time is
cancelled; nothing else is touched. The steps do nothing, so that what is measured is what
Batuta, the broker and Redis take.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celery import Celery, Signature, chain, chord

from coordinator.errors import NotMeasured, WaitTimeout
from coordinator.own_jobs import submit_own
from coordinator.parts import Parts
from coordinator.state.overview import INTERNAL

if TYPE_CHECKING:
    from coordinator.coordinator import Coordinator

KIND = f"{INTERNAL}bench"
NOTHING, COUNT = f"{INTERNAL}bench.nothing", f"{INTERNAL}bench.count"
#: Before anything is measured: workers import, connect and declare.
WARM_UP = 3
SUBMITS, CHAIN = 50, 50


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured."""

    what: str
    value: float
    unit: str


def register(app: Celery) -> None:
    """Register the steps of the jobs on an app."""

    @app.task(name=NOTHING, shared=False)
    def nothing(number: int) -> int:
        return number

    @app.task(name=COUNT, shared=False)
    def count(numbers: list[int]) -> int:
        return len(numbers)


class Bench:
    """Runs the jobs one after the other. ``queue``: where their steps go; empty means as any step."""

    def __init__(self, coordinator: Coordinator, *, queue: str = "", timeout_s: float = 60.0) -> None:
        self._coordinator = coordinator
        self._parts = Parts(coordinator.app, coordinator.settings)
        self._options = {"queue": queue} if queue else {}
        self._timeout_s = timeout_s

    def run(self, steps: int, say: Callable[[str], None]) -> Iterator[Figure]:
        """Yield figures as they are found.

        Args:
            steps: how many the fan-out has.
            say: told what begins now.

        Raises:
            NotMeasured: a job did not end in time; it was cancelled.
        """
        say("warming up")
        with self._job(self._chain(WARM_UP)):
            pass
        say(f"{SUBMITS} jobs of one step")
        yield from self._submits()
        say(f"a chain of {CHAIN}")
        started = time.perf_counter()
        with self._job(self._chain(CHAIN)):
            pass
        yield Figure(
            "a step of a chain after the one before", (time.perf_counter() - started) * 1000 / CHAIN, "ms"
        )
        say(f"a fan-out of {steps:,}")
        header = [self._nothing(number) for number in range(steps)]
        started = time.perf_counter()
        with self._job(chord(header, Signature(COUNT, options=self._options))):
            sent_s = time.perf_counter() - started
        yield Figure(f"a fan-out of {steps:,}, sent", steps / sent_s, "messages/s")
        yield Figure(f"a fan-out of {steps:,}, joined", steps / (time.perf_counter() - started), "steps/s")

    def _submits(self) -> Iterator[Figure]:
        times = []
        for number in range(SUBMITS):
            started = time.perf_counter()
            with self._job(self._nothing(number)):
                times.append((time.perf_counter() - started) * 1000)
        yield Figure("submit of one step, median", statistics.median(times), "ms")
        yield Figure("submit of one step, slowest", max(times), "ms")

    def _nothing(self, number: int) -> Signature:
        return Signature(NOTHING, args=(number,), immutable=True, options=self._options)

    def _chain(self, length: int) -> Signature:
        return chain(*[self._nothing(number) for number in range(length)])

    @contextmanager
    def _job(self, canvas: Signature) -> Iterator[None]:
        """Submit a job, run the block, wait for the job; it is cancelled where it does not end."""
        job = submit_own(self._parts, KIND, canvas)
        try:
            yield
            self._coordinator.wait(job, timeout_s=self._timeout_s)
        except BaseException as error:
            self._parts.state.cancel(job, "the measurement was ended")
            if isinstance(error, WaitTimeout):
                raise NotMeasured(
                    f"expected a job of nothing within {self._timeout_s:g} s, got none; it was cancelled"
                ) from error
            raise
