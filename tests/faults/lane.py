"""A lane: one worker on its own queue and keys, on which points are tried one after the other.

Points mostly wait (for a lost child to be noticed, for a lease to run out), so several lanes share
the servers and the machine. ``Lane.attempt`` judges a job from outside: its value, its steps, how
often code ran, how often a record was written, its alerts, and what is left of it in Redis.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from coordinator import Coordinator, Settings
from coordinator.app import make_app
from coordinator.draft import ERRBACK
from coordinator.errors import JobFailed, JobNotFound, WaitTimeout
from coordinator.state import StateManager
from coordinator.states import State, StepState
from tests.conftest import Services
from tests.facade import close
from tests.faults.crash_points import BOARD_VARIABLE, Board
from tests.faults.shapes import Shape, runs
from tests.faults.warm import Warm
from tests.waiting import PATIENCE, wait_until

HANG_S = 40 * PATIENCE
#: A job's own keys by their letter; ``a`` and ``b`` go when it succeeds, the others some time after its end.
JOB_KEYS = "m p r x g f e a b s v"
#: A worker that was killed is back before its leases have run out, or after that.
LEASE_S = "1.5"
#: What a killed worker is away for, where it is not started again at once.
AWAY_S = 3.0


@dataclass
class Outcome:
    """What came of one job."""

    calls: int = 0
    fired: bool = False
    hung: str = ""  # what it hung on
    records: int = 0  # results written to the journal
    runs: Counter[str] = field(default_factory=Counter)
    late_runs: int = 0  # of steps that were recorded already


class Lane:
    """One worker and one coordinator; for one thread."""

    def __init__(self, services: Services, home: Path, *, hang_s: float = HANG_S) -> None:
        """Start the worker; a job hangs that has not ended ``hang_s`` after its kill."""
        home.mkdir(parents=True)
        self._home = home
        self._hang_s = hang_s
        self._names = map(str, itertools.count())
        self.board = Board(home / "board", create=True)
        jobs = "tests.flows,tasks"
        env = {
            **services.env,
            "COORDINATOR_LEASE_S": LEASE_S,
            "COORDINATOR_JOBS": f"tests.faults.crash_points,tests.faults.broken,{jobs}",
        }
        self.warm = Warm({**env, BOARD_VARIABLE: str(home / "board")}, home / "worker.log")
        self.worker = self.warm.start_worker()
        self.app = make_app(Settings.from_env({**env, "COORDINATOR_JOBS": jobs}))
        self.coordinator = Coordinator.from_settings(self.app.parts.settings, self.app)
        self._send = self.app.parts.outbox.send
        self.app.parts.outbox.send = self._send_unless_muted
        self._is_warm = False
        self.is_spoilt = False  # something hangs on it, or is left

    def close(self) -> None:
        self.warm.kill(self.worker)
        self.warm.close()
        self.app.parts.state.client.close()
        self.app.parts.dispatcher.close()
        close(self.app)

    def log_tail(self, lines: int = 60) -> str:
        return "\n".join(self.warm.log.read_text(errors="replace").splitlines()[-lines:])

    def attempt(self, shape: Shape, victim: str, call: int = 0, when: int = 0) -> Outcome:
        """Run one job with a kill at one call (0: none)."""
        if not self._is_warm:  # scripts are loaded, queues declared
            self._is_warm = True
            self.attempt(shape, victim)
        self.revive()
        path = self._home / f"runs-{next(self._names)}"
        before = results_recorded(self.coordinator.state_manager)
        self.board.arm(call, when, victim)
        if victim == "submitter":
            job = self._submit_killed(shape, path, call)
        else:
            job = shape.submit(self.coordinator, str(path))
        if victim in ("worker", "reconciler"):
            what = "a kill or the end"
            wait_until(lambda: self.board.kills or self._has_ended(job), timeout_s=self._hang_s, what=what)
            self.revive(away_s=AWAY_S if victim == "worker" and (call + when) % 2 else 0)
        hung = self._judge(shape, job)
        return Outcome(
            calls=self.board.calls,
            fired=self.board.kills > 0,
            hung=hung,
            records=results_recorded(self.coordinator.state_manager) - before,
            runs=Counter(runs(path)),
            late_runs=self.board.late_runs,
        )

    def revive(self, away_s: float = 0) -> None:
        """Start the worker again where the whole of it was killed, also by a kill after its job's end."""
        if self.board.kills and self.board.victim in ("worker", "reconciler"):
            if not self.board.is_armed:
                return
            wait_until(lambda: not self.warm.is_alive(self.worker), what="the killed worker to be gone")
            self.warm.kill(self.worker)
            back_at = time.monotonic() + away_s
            wait_until(lambda: time.monotonic() >= back_at, timeout_s=away_s + 1, what="the outage's end")
            self.board.disarm()
            self.worker = self.warm.start_worker()

    def _submit_killed(self, shape: Shape, path: Path, call: int) -> str:
        """Submit in a process that is killed; then submit the same again, as its caller would."""
        key = f"{path.name}-{call}"
        code = self.warm.submit(shape.name, str(path), key)
        assert code == (-9 if self.board.kills else 0), f"the submitter ended with {code}"
        if self._is_present(key):
            self._judge(shape, key)
        self.board.disarm()
        assert self.warm.submit(shape.name, str(path), key) == 0
        return key

    def _is_present(self, key: str) -> bool:
        try:
            return self.coordinator.status(key) is not None
        except JobNotFound:
            return False

    def _judge(self, shape: Shape, job: str) -> str:
        """Check all that can be checked of any job; returns what it hung on."""
        try:
            value = self.coordinator.wait(job, timeout_s=self._hang_s)
            assert shape.told(value) == shape.value, f"expected {shape.value!r}, got {value!r}"
        except JobFailed as failed:
            assert shape.value is None, failed
        except WaitTimeout:
            return repr((self.coordinator.steps(job), self.coordinator.events(job)))
        wait_until(lambda: not self._left_of(job), timeout_s=20, what="nothing left over of the job")
        status = self.coordinator.status(job)
        if shape.value is not None:
            assert status.steps_done == status.steps_total, status
        alerts = [alert for alert in self.coordinator.alerts() if alert["job"] == job]
        assert len(alerts) == (1 if shape.value is None else 0), alerts
        return ""

    def _left_of(self, job: str) -> list[str]:
        """Return what is in Redis beside the finished job, and the error callbacks that have not run."""
        self.revive()  # the kill may come when the job has ended, in its error callback
        state = self.coordinator.state_manager
        found = []
        for index in ("active", "leases", "timers", "outbox"):
            members = state.client.zrange(state.keys.index(state.keys.shard_of(job), index), 0, -1)
            found += [f"{index}:{m.decode()}" for m in members if m.decode().split("|")[0] == job]
        found += self._kept_for_ever(job)
        if self.coordinator.status(job).state == State.FAILED:
            callbacks = [step for step in self.coordinator.steps(job) if step.task == ERRBACK]
            found += [step.id for step in callbacks if step.state != StepState.SUCCEEDED]
        return found

    def _kept_for_ever(self, job: str) -> list[str]:
        """Return the keys of a finished job that stay behind: those without an end, and ``a`` and ``b``."""
        state = self.coordinator.state_manager
        names = state.keys.named(job, JOB_KEYS)
        pipe = state.client.pipeline(transaction=False)
        for name in names:
            pipe.pttl(name)
        life_ms = dict(zip(JOB_KEYS.split(), pipe.execute(), strict=True))
        has_succeeded = self.coordinator.status(job).state == State.SUCCEEDED
        return [
            f"{letter}: {ms}"
            for letter, ms in life_ms.items()
            if ms == -1 or (has_succeeded and letter in "ab" and ms != -2)
        ]

    def _has_ended(self, job: str) -> bool:
        return self.coordinator.status(job).state.is_terminal

    def _send_unless_muted(self, job: str, triggers: list[str]) -> int:
        return 0 if self.board.victim == "reconciler" else self._send(job, triggers)


def results_recorded(state: StateManager) -> int:
    """Return how many results have been written, in all jobs under a prefix; the script counts."""
    pipe = state.client.pipeline(transaction=False)
    for shard in state.shards:
        pipe.hget(state.keys.index(shard, "counts"), "recorded||")
    return sum(int(count or 0) for count in pipe.execute())
