"""Kill parts of the user's own cluster under jobs of its own, and count what came of them.

Owns ``manage.py chaos``: the small jobs, the choice of victims, the report. Invariants: only
processes of this application on this host are killed, and of these only such as something
starts again: children of a pool, members of a fleet, or whole workers where that is asked
for. A process is taken for a worker's only if machine, pid and time of birth are those that
the worker itself has just given. The jobs are of an internal kind; nothing else is touched.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from celery import Celery, Signature, chain, chord

from coordinator import about
from coordinator.about import WorkerAbout, birth, machine
from coordinator.errors import BatutaError, JobNotFound, Unreachable
from coordinator.own_jobs import submit_own
from coordinator.parts import Parts
from coordinator.state.overview import INTERNAL
from coordinator.states import State
from coordinator.step import Step

KIND = f"{INTERNAL}chaos"
WORK, GATHER = f"{INTERNAL}chaos.work", f"{INTERNAL}chaos.gather"
WIDTH = 4
STEP_S = 0.2
#: Jobs that are under way at once.
AT_ONCE = 8
#: Between two kills, at least and at most.
PAUSES_S = (0.5, 2.5)
#: Beyond a lease and the search for lost messages: then a job that has not ended hangs.
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Victim:
    """A process that may be killed."""

    what: str  # child | worker
    worker: str
    pid: int
    born: str


@dataclass
class Report:
    """What came of it."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    completed: int = 0
    failed: int = 0
    hung: list[str] = field(default_factory=list)
    recorded_twice: list[str] = field(default_factory=list)
    run_again: int = 0  # steps whose code ran more than once: what a kill may cost

    @property
    def ok(self) -> bool:
        """Whether all jobs ended well; where none has, nothing was shown."""
        return self.completed > 0 and not (self.hung or self.recorded_twice or self.failed)


def register(app: Celery) -> None:
    """Register the steps of the jobs on an app."""

    @app.task(name=WORK, bind=True, shared=False)
    def work(self: Step, number: int) -> str:
        """Take a moment, and return what no other run returns."""
        time.sleep(STEP_S)
        return f"{number}:{self.fence}:{secrets.token_hex(8)}"

    @app.task(name=GATHER, shared=False)
    def gather(tokens: list[str]) -> list[str]:
        return tokens


def victims(workers: list[WorkerAbout], *, whole_workers: bool = False) -> list[Victim]:
    """Return what may be killed of these workers: parts on this host that something starts again."""
    found = []
    for worker in workers:
        if worker.machine != machine() or birth(worker.pid) != worker.born:
            continue  # another host, or another container with pids of its own
        if whole_workers or worker.is_expendable:
            found.append(Victim("worker", worker.name, worker.pid, worker.born))
        found += [Victim("child", worker.name, pid, birth(pid)) for pid in worker.children if birth(pid)]
    return found


class Chaos:
    """Runs jobs and kills what runs them, for a while."""

    def __init__(
        self,
        parts: Parts,
        *,
        seed: int,
        whole_workers: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._parts = parts
        self._state = parts.state
        self._rng = random.Random(seed)  # noqa: S311  a storm that can be had again, no secret
        self._whole_workers = whole_workers
        self._say = say
        self._open: list[str] = []
        self.report = Report(seed)

    def run(self, duration_s: float) -> Report:
        """Run for ``duration_s``, then wait for the jobs to end; returns the report."""
        ends = time.monotonic() + duration_s
        while time.monotonic() < ends:
            self._fill()
            self._kill_one()
            pause_ends = min(ends, time.monotonic() + self._rng.uniform(*PAUSES_S))
            while time.monotonic() < pause_ends:
                time.sleep(0.1)
                self._collect()
        self._wait_for_all()
        return self.report

    def _fill(self) -> None:
        """Submit jobs until enough are under way."""
        while len(self._open) < AT_ONCE:
            try:
                self._open.append(self._submit())
            except Unreachable as error:
                self._say(f"can't submit now: {error}")
                return
            self.report.jobs += 1

    def _submit(self) -> str:
        header = [Signature(WORK, args=(number,), immutable=True) for number in range(1, WIDTH + 1)]
        first = Signature(WORK, args=(0,), immutable=True)
        return submit_own(
            self._parts, KIND, chain(first, chord(header, Signature(GATHER)), Signature(GATHER))
        )

    def _kill_one(self) -> None:
        try:
            workers = about.ask(self._parts.app, self._parts.settings)
        except Unreachable as error:
            self._say(f"can't ask the workers now: {error}")
            return
        candidates = victims(workers, whole_workers=self._whole_workers)
        if len(workers) < 2:  # the last one stays: without it there is nothing to see
            candidates = [victim for victim in candidates if victim.what == "child"]
        if not candidates:
            return
        victim = self._rng.choice(candidates)
        if birth(victim.pid) != victim.born:
            return  # it has ended meanwhile
        try:
            os.kill(victim.pid, signal.SIGKILL)
        except OSError as error:
            self._say(f"can't kill {victim.what} {victim.pid} of {victim.worker}: {error}")
            return
        self.report.kills[victim.what] += 1
        self._say(f"killed {victim.what} {victim.pid} of {victim.worker}")

    def _collect(self) -> None:
        """Judge the jobs that have ended."""
        for job in list(self._open):
            try:
                state = self._state.state(job)
                if not state.is_terminal:
                    continue
                self._judge(job, state)
            except JobNotFound:
                self.report.hung.append(job)
            except BatutaError:
                return  # Redis is away: later
            self._open.remove(job)

    def _judge(self, job: str, state: State) -> None:
        if state != State.SUCCEEDED:
            self.report.failed += 1
            return
        self.report.completed += 1
        steps = [step for step in self._state.steps(job) if step.task == WORK]
        self.report.run_again += sum(max(0, step.attempts - 1) for step in steps)
        records = {key: self._state.value(job, key) for key in (step.key for step in steps)}
        taken = self._state.result(job)
        # Each run of a step returns another word: what was handed on must be what is recorded.
        if sorted(taken) != sorted(word for word in records.values() if not word.startswith("0:")):
            self.report.recorded_twice.append(job)

    def _wait_for_all(self) -> None:
        settings = self._parts.settings
        ends = time.monotonic() + 2 * settings.lease_s + 2 * settings.quiet_s + PATIENCE_S
        while self._open and time.monotonic() < ends:
            time.sleep(0.1)
            self._collect()
        self.report.hung += self._open
