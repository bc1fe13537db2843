"""Find what was lost and send it again; runs in a thread of every worker.

Owns repair. Invariants: one worker reconciles at a time (a lease in Redis);
*lost* never means *slow*: a step that was sent is taken for lost only when a
probe, put into its queue after the step, came back and the step had still not
begun. The event loop is never used: this thread has its own connections.
Each tick: renew the leases of this worker's running steps; then, in the one
that reconciles: timers that are due, leases that ran out, outbox entries that
were left, and jobs that have been quiet.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from celery import bootsteps
from celery.worker import state as worker_state

from coordinator import about  # noqa: F401  a worker answers for itself when it is asked
from coordinator.alerting import Alerting
from coordinator.attempt import owner_of
from coordinator.counted import counted
from coordinator.errors import BatutaError, BrokerUnreachable, JobNotFound, StateUnreachable
from coordinator.limits import is_expendable
from coordinator.parts import Parts
from coordinator.quiet import QuietJobs
from coordinator.state import parse_step_id
from coordinator.state.steps import CAME_BACK_EMPTY
from coordinator.variables import strangers
from coordinator.watermark import Watermark

logger = logging.getLogger(__name__)

#: A step that has run for longer has its lease renewed at each tick.
RENEWED_AFTER_S = 0.5
#: From the end of a race to the end of a loser's process.
RACE_GRACE_S = 0.3
#: The pool looks for lost children every few seconds: until then their steps seem to run.
ENDED_AGAIN_AFTER_S = 10.0
#: Repaired in one tick, in each shard.
AT_ONCE = 200
#: Looks at quiet jobs in a tick, and the time for verdicts. The rest waits: leases must be renewed.
LOOKS, VERDICTS_S = 100, 0.5
#: Jobs looked at whether they are kept still, and how often: 6 million a day.
PRUNED_AT_ONCE, PRUNED_EVERY_S = 1000, 15.0
#: From one tick to the next where something is left to do.
SHORT_PAUSE_S = 0.05


class Reconciler:
    """Renews this worker's leases and, while it is the one, repairs all jobs."""

    def __init__(self, parts: Parts, hostname: str) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._state = parts.state
        self._owner = owner_of(hostname)
        self._watermark = Watermark(parts)
        self._alerting = Alerting(parts)
        self._instance = ""  # id of the Redis that was seen last
        self._stopped: dict[str, float] = {}  # running steps that should not run, till when (s)
        self._quiet = QuietJobs(parts.state, self._settings.quiet_s)
        self._pruned, self._prune_at = (0, 0), 0.0  # shard and place in its index, and when (monotonic)
        self._is_behind = False  # more jobs are to be looked at than one tick could
        self._joined: int | None = None  # workers that have started, as last seen

    def tick(self) -> None:
        """Do one round."""
        self.renew_running()
        self._instance, came_back_empty = self._state.mark_instance(self._instance)
        if came_back_empty:
            self._parts.notifier.log(CAME_BACK_EMPTY)
        self._notice_workers()
        if self._is_the_one():
            self.repair()
            self._alerting.tick()

    def _notice_workers(self) -> None:
        """Look at all quiet jobs again when a worker has joined: it may have the task that a step awaits."""
        client, key = self._state.client, self._state.keys.joined
        joined = int(client.incr(key) if self._joined is None else client.get(key) or 0)
        if joined != self._joined:
            self._quiet.start_over()
        self._joined = joined

    def pause_s(self) -> float:
        """Return how long to wait for the next round: less where a step is about to be ended."""
        if self._is_behind:
            return SHORT_PAUSE_S
        ends = min(self._stopped.values(), default=float("inf"))
        return min(self._settings.tick_s, max(SHORT_PAUSE_S, ends - time.time()))

    def renew_running(self) -> None:
        """Lengthen the leases of the steps that this worker has been running for a while.

        A step whose job was cancelled, or whose lease another worker has, is ended after the grace.
        """
        now = time.time()
        running = {request.id: request for request in list(worker_state.active_requests)}
        for task_id, request in running.items():
            step = parse_step_id(task_id)
            if step and request.time_start and now - request.time_start > RENEWED_AFTER_S:
                verdict, state = self._state.renew(*step, self._owner)
                if verdict == "lost" or state in ("cancelled", "gone"):
                    grace_s = self._settings.grace_s if state != "lost" else RACE_GRACE_S
                    self._stopped.setdefault(task_id, now + grace_s)
                else:  # retried before its time was up
                    self._stopped.pop(task_id, None)
        self._stopped = {task_id: ends for task_id, ends in self._stopped.items() if task_id in running}
        for task_id, ends in self._stopped.items():
            if now > ends:
                self._end(running[task_id])
                self._stopped[task_id] = now + ENDED_AGAIN_AFTER_S

    def _end(self, request: Any) -> None:
        """Kill the child that runs a stopped step; pools without children let it run on."""
        if request.worker_pid and (request.worker_pid != os.getpid() or is_expendable()):
            logger.warning("step-ended: %s went on though it was told to stop", request.id)
            with contextlib.suppress(ProcessLookupError):
                os.kill(request.worker_pid, signal.SIGKILL)

    def repair(self) -> None:
        """Send what is due, was left or was lost; takes few round trips while there is nothing."""
        for shard, found in enumerate(self._state.overdue(self._settings.lease_s / 2, AT_ONCE)):
            if found.timers:
                self.fire_timers(shard)
            self.take_back_leases(found.leases)
            for member in found.outbox:  # whoever noted it did not live to send it
                self._send(*_split(member))
        self.look_at_quiet_jobs()
        self.prune_jobs()

    def prune_jobs(self) -> None:
        """Forget jobs that are kept no longer: a page of one shard now and then."""
        if time.monotonic() < self._prune_at:
            return
        self._prune_at = time.monotonic() + PRUNED_EVERY_S
        shard, start = self._pruned
        start = self._state.prune(shard, start, PRUNED_AT_ONCE)
        self._pruned = (shard if start else (shard + 1) % len(self._state.shards), start)

    def fire_timers(self, shard: int) -> None:
        """Send the steps whose retry is due, and fail the jobs whose deadline has passed."""
        for entry in self._state.due(shard, AT_ONCE):
            self._send(*_split(entry))

    def take_back_leases(self, members: Sequence[str]) -> None:
        """Send the steps again whose worker has not renewed their lease."""
        for member in members:
            job, key = _split(member)
            if self._state.release(job, key, "expired") == "released":
                self._send(job, f"={key}")

    def look_at_quiet_jobs(self) -> None:
        """Send the steps again whose message was lost."""
        due = self._quiet.due(LOOKS)
        for job, is_first in due:
            with self._apart(job):
                self._watermark.suspect(job, is_first=is_first)
        is_left = self._watermark.settle(time.monotonic() + VERDICTS_S)
        self._is_behind = is_left or len(due) == LOOKS

    def _send(self, job: str, trigger: str) -> None:
        self._quiet.look_soon(job)
        with self._apart(job, trigger):
            if trigger == "!deadline":
                if self._state.fail_deadline(job, "the job did not end before its deadline"):
                    self._parts.notifier.log(f"job {job} missed its deadline", job=job)
                return
            count = self._parts.outbox.send_again(job, trigger)
            if count:
                self._state.note_event(job, "redriven", trigger, counted(count, "message"))

    @contextlib.contextmanager
    def _apart(self, job: str, trigger: str = "") -> Iterator[None]:
        """Let a fault of one job hold up no other; a broker or a Redis that is away is everyone's."""
        try:
            yield
        except JobNotFound:
            return
        except StateUnreachable:
            raise
        except Exception as error:
            if isinstance(error, BrokerUnreachable):
                self._parts.dispatcher.connect()
            logger.warning("repair-failed: job %s: %r", job, error)
            if trigger:
                self._state.touch(job, trigger)  # it comes again behind the others
            self.renew_running()  # this took its time

    def _is_the_one(self) -> bool:
        client, key = self._state.client, self._state.keys.reconciler
        life_ms = int(max(5.0, 5 * self._settings.tick_s) * 1000)
        holder = client.get(key)
        if holder is None:
            return bool(client.set(key, self._owner, nx=True, px=life_ms))
        if holder != self._owner.encode():
            return False
        client.pexpire(key, life_ms)
        return True


class ReconcilerStep(bootsteps.StartStopStep):
    """Runs the reconciler in a thread of the worker's parent process."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, worker: Any) -> None:
        parts: Parts = worker.app.parts
        for stranger in strangers():
            logger.warning("setting-unread: %s", stranger)
        self._thread = threading.Thread(
            target=self._run, args=(parts, worker.hostname), name="reconciler", daemon=True
        )
        self._thread.start()

    def stop(self, _worker: Any) -> None:
        self._ending.set()
        if self._thread:
            self._thread.join(timeout=5)

    def terminate(self, _worker: Any) -> None:
        self._ending.set()

    def _run(self, parts: Parts, hostname: str) -> None:
        reconciler = Reconciler(parts, hostname)
        while not self._ending.wait(reconciler.pause_s()):
            try:
                reconciler.tick()
            except BatutaError as error:
                logger.warning("reconcile-failed: %s", error)
            except Exception:  # a fault here must not end repair for ever
                logger.exception("reconcile-failed")


def _split(member: str) -> tuple[str, str]:
    job, _, rest = member.rpartition("|")
    return job, rest
