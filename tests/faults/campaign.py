"""Try the crash points of all cases on several lanes at once, and keep what comes of each.

Owns the order: a case's clean run says how many calls there are, then come its points; earlier cases
first. A point that goes wrong ends nothing: its lane is replaced, its report kept, and the case's test
fails. Where the time that was given is up, the rest is left for the next run.
"""

from __future__ import annotations

import itertools
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from tests.faults.lane import Lane, Outcome
from tests.faults.ledger import HUNG, PAST, RIGHT, TWICE, WRONG, Case, Ledger, Tried
from tests.faults.shapes import named

#: Tried behind the last call of the clean run: a repair makes calls of its own.
BEYOND = 2


class Campaign:
    """Threads with a lane each for every kind of broker, and a queue of what is to be tried."""

    def __init__(
        self,
        open_lane: Callable[[str], Lane],
        ledger: Ledger,
        *,
        lanes: int,
        sample: Callable[[Case], int | None],
        seed: int,
        budget_s: float,
        only: Sequence[tuple[int, int]] = (),
    ) -> None:
        """Take how to open a lane, how many points of a case to try (None: all), or which ones only."""
        self._open_lane = open_lane
        self._ledger = ledger
        self._sample = sample
        self._seed = seed
        self._only = only
        self._ends = time.monotonic() + budget_s
        self._tasks: queue.PriorityQueue[tuple[int, int, Callable[[Lane], None] | None, Case | None]]
        self._tasks = queue.PriorityQueue()
        self._serial = itertools.count()
        self._left: Counter[Case] = Counter()  # tasks of a case that are not done
        self._changed = threading.Condition()
        self.calls: dict[Case, int] = {}
        self.left_out: Counter[Case] = Counter()  # not tried, for want of time
        self._threads = [threading.Thread(target=self._work, name=f"lane {n}") for n in range(lanes)]

    def start(self, cases: list[Case]) -> None:
        for order, case in enumerate(cases):
            self._put(order, case, partial(self._measure, order, case))
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End the threads and their lanes; what was not begun is dropped."""
        self._ends = 0
        for _ in self._threads:
            self._tasks.put((-1, next(self._serial), None, None))
        for thread in self._threads:
            thread.join()

    def outcome(self, case: Case) -> list[Tried]:
        """Wait until a case is done, and return what came of its points."""
        with self._changed:
            self._changed.wait_for(lambda: not self._left[case])
        return self._ledger.of(case)

    def _put(self, order: int, case: Case, task: Callable[[Lane], None]) -> None:
        with self._changed:
            self._left[case] += 1
        self._tasks.put((order, next(self._serial), task, case))

    def _work(self) -> None:
        lanes: dict[str, Lane] = {}
        while True:
            _, _, task, case = self._tasks.get()
            if task is None or case is None:
                break
            try:
                if time.monotonic() > self._ends:
                    self.left_out[case] += 1
                else:
                    self._do(lanes, case, task)
            finally:
                with self._changed:
                    self._left[case] -= 1
                    self._changed.notify_all()
        for lane in lanes.values():
            lane.close()

    def _do(self, lanes: dict[str, Lane], case: Case, task: Callable[[Lane], None]) -> None:
        try:
            if case.kind not in lanes:
                lanes[case.kind] = self._open_lane(case.kind)
            task(lanes[case.kind])
        except Exception as error:  # a case that can't be measured; its test says so
            tail = lanes[case.kind].log_tail() if case.kind in lanes else "no lane"
            self._ledger.add(Tried(case, 0, 0, WRONG, report=f"without a kill: {error!r}\n{tail}"))
        if case.kind in lanes and lanes[case.kind].is_spoilt:
            lanes.pop(case.kind).close()

    def _measure(self, order: int, case: Case, lane: Lane) -> None:
        """Run the case's job without a kill, and queue its points."""
        clean = lane.attempt(named(case.shape), case.victim)
        if clean.hung or not clean.calls:
            raise AssertionError(f"no call was counted, or it hung without a kill: {clean}")
        self.calls[case] = clean.calls
        many = self._sample(case)
        beyond = BEYOND if many is None else 0
        points = [(call, when) for call in range(1, clean.calls + beyond + 1) for when in (0, 1)]
        if many is not None:
            points = random.Random(f"{self._seed} {case}").sample(points, min(many, len(points)))
        for call, when in self._only or points:
            if not self._ledger.has(case, call, when):
                self._put(order, case, partial(self._try, order, case, call, when, clean))

    def _try(self, order: int, case: Case, call: int, when: int, clean: Outcome, lane: Lane) -> None:
        started = time.monotonic()
        verdict, outcome, report = RIGHT, Outcome(), ""
        try:
            outcome = lane.attempt(named(case.shape), case.victim, call, when)
            verdict, report = judge(case, outcome, clean)
        except Exception as error:
            verdict, report = WRONG, f"{error!r}\n{lane.log_tail()}"
        again = sum(outcome.runs.values()) > sum(clean.runs.values())
        took_s = round(time.monotonic() - started, 2)
        self._ledger.add(Tried(case, call, when, verdict, again, took_s, report))
        lane.is_spoilt = verdict not in (RIGHT, PAST)
        if verdict == PAST and call > 1 and self._sample(case) is not None:
            # This run had fewer calls than the measured one: a sample takes an earlier point instead.
            self._put(order, case, partial(self._try, order, case, call // 2, when, clean))


def judge(case: Case, outcome: Outcome, clean: Outcome) -> tuple[str, str]:
    """Compare a job with a kill with one without; returns the verdict and what was seen."""
    if outcome.hung:
        return HUNG, outcome.hung
    if outcome.records > clean.records:
        return TWICE, f"{outcome.records} results were recorded, {clean.records} without a kill"
    if outcome.late_runs:
        return WRONG, f"code ran again though its result was recorded, {outcome.late_runs} times"
    extra = sum(outcome.runs.values()) - sum(clean.runs.values())
    # A killed child was in one step; a killed worker with two children in two; a submitter in none.
    at_most = {"child": 1, "submitter": 0}.get(case.victim, 2) * named(case.shape).items
    is_same = set(outcome.runs) == set(clean.runs) and outcome.records == clean.records
    if not is_same or extra > at_most:
        return WRONG, f"{outcome}, without a kill {clean}"
    return (RIGHT if outcome.fired else PAST), ""
