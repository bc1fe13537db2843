"""Find what was lost and send it again; runs in a thread of every worker.

Owns repair. Invariants: one worker reconciles at a time (a lease in Redis);
*lost* never means *slow*: a step that was sent is taken for lost only when a
probe, put into its queue after the step, came back and the step had still not
begun. The event loop is never used: this thread has its own connections.
Each tick, in the one that reconciles: timers that are due, leases that ran out,
outbox entries that were left, and jobs that have been quiet.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from celery import bootsteps

from coordinator import about  # noqa: F401  a worker answers for itself when it is asked
from coordinator.alerting import Alerting
from coordinator.attempt import owner_of
from coordinator.counted import counted
from coordinator.errors import BatutaError, BrokerUnreachable, JobNotFound, StateUnreachable
from coordinator.parts import Parts
from coordinator.quiet import QuietJobs
from coordinator.renewal import SHORT_PAUSE_S, Renewal
from coordinator.state.steps import CAME_BACK_EMPTY
from coordinator.variables import strangers
from coordinator.watermark import Watermark

logger = logging.getLogger(__name__)

#: Repaired in one tick, in each shard.
AT_ONCE = 200
#: Looks at quiet jobs in a tick, and the time for verdicts. The rest waits: timers and leases come first.
LOOKS, VERDICTS_S = 100, 0.5
#: Jobs looked at whether they are kept still, and how often: 6 million a day.
PRUNED_AT_ONCE, PRUNED_EVERY_S = 1000, 15.0
#: While one tick lasts, how often the others are told that somebody repairs.
LED_AGAIN_AFTER_S = 1.0


class Reconciler:
    """Repairs all jobs, while it is the one that does. For one thread."""

    def __init__(self, parts: Parts, hostname: str) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._state = parts.state
        self._owner = owner_of(hostname)
        self._watermark = Watermark(parts)
        self._alerting = Alerting(parts)
        self._instance = ""  # id of the Redis that was seen last
        self._quiet = QuietJobs(parts.state, self._settings.quiet_s)
        self._pruned, self._prune_at = (0, 0), 0.0  # shard and place in its index, and when (monotonic)
        self._is_behind = False  # more jobs are to be looked at than one tick could
        self._joined: int | None = None  # workers that have started, as last seen
        self._led_at = 0.0  # when it was last the one (monotonic)

    def tick(self) -> None:
        """Do one round."""
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
        """Return how long to wait for the next round."""
        return SHORT_PAUSE_S if self._is_behind else self._settings.tick_s

    def repair(self) -> None:
        """Send what is due, was left or was lost; takes few round trips while there is nothing."""
        for shard, found in enumerate(self._state.overdue(self._settings.lease_s / 2, AT_ONCE)):
            if found.timers:
                self.fire_timers(shard)
            self.take_back_leases(found.leases)
            self._send_all(found.outbox)  # whoever noted them did not live to send them
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
        self._send_all(self._state.due(shard, AT_ONCE))

    def take_back_leases(self, members: Sequence[str]) -> None:
        """Send the steps again whose worker has not renewed their lease."""
        held = [_split(member) for member in members]
        lost = [(job, key) for job, key in held if self._state.release(job, key, "expired") == "released"]
        self._send_all([f"{job}|={key}" for job, key in lost])

    def look_at_quiet_jobs(self) -> None:
        """Send the steps again whose message was lost."""
        due = self._quiet.due(LOOKS)
        for job, is_first in due:
            with self._apart(job):
                self._watermark.suspect(job, is_first=is_first)
        is_left = self._watermark.settle(time.monotonic() + VERDICTS_S)
        self._is_behind = is_left or len(due) == LOOKS

    def _send_all(self, entries: Sequence[str]) -> None:
        """Send what entries of the outbox name: the steps of a job that are named one by one all at once."""
        steps: dict[str, list[str]] = defaultdict(list)
        for job, trigger in map(_split, entries):
            if trigger.startswith("="):
                steps[job].append(trigger)
            else:
                self._send(job, [trigger])
        for job, triggers in steps.items():
            if not self._send(job, triggers) and len(triggers) > 1:
                for trigger in triggers:  # one that can't be sent holds up no other
                    self._send(job, [trigger])

    def _send(self, job: str, triggers: Sequence[str]) -> bool:
        """Send what triggers name; returns whether that was possible."""
        self._quiet.look_soon(job)
        is_done, outbox = False, self._parts.outbox
        with self._apart(job, *triggers):
            if triggers == ["!deadline"]:
                if self._state.fail_deadline(job, "the job did not end before its deadline"):
                    self._parts.notifier.log(f"job {job} missed its deadline", job=job)
                    outbox.send(job, self._state.errbacks(job))
            else:
                is_one = len(triggers) == 1
                count = outbox.send_again(job, *triggers) if is_one else outbox.send_all_again(job, triggers)
                if count:
                    self._state.note_event(job, "redriven", triggers[0], counted(count, "message"))
            is_done = True
        return is_done  # noqa: RET504  a fault of the job is swallowed

    @contextlib.contextmanager
    def _apart(self, job: str, *triggers: str) -> Iterator[None]:
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
            if triggers:
                self._state.touch(job, *triggers)  # they come again behind the others
        finally:
            if time.monotonic() - self._led_at > LED_AGAIN_AFTER_S:
                self._is_the_one()

    def _is_the_one(self) -> bool:
        client, key = self._state.client, self._state.keys.reconciler
        life_ms = int(max(5.0, 5 * self._settings.tick_s) * 1000)
        holder = client.get(key)
        if holder is None:
            is_the_one = bool(client.set(key, self._owner, nx=True, px=life_ms))
        else:
            is_the_one = holder == self._owner.encode() and bool(client.pexpire(key, life_ms))
        self._led_at = time.monotonic()
        return is_the_one


class ReconcilerStep(bootsteps.StartStopStep):
    """Runs the reconciler, and the renewal of leases, in threads of the worker's parent process."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._stopping, self._ended = threading.Event(), threading.Event()
        self._repair: threading.Thread | None = None

    def start(self, worker: Any) -> None:
        parts: Parts = worker.app.parts
        for stranger in strangers():
            logger.warning("setting-unread: %s", stranger)
        renewal = Renewal(parts, worker.hostname)

        def has_ended(pause_s: float) -> bool:  # after the last running step: the pool waits for those
            return self._ended.wait(pause_s) or (self._stopping.is_set() and renewal.is_idle)

        _start_thread("leases", renewal, has_ended)
        self._repair = _start_thread("reconciler", Reconciler(parts, worker.hostname), self._stopping.wait)

    def stop(self, _worker: Any) -> None:
        self._stopping.set()
        if self._repair:
            self._repair.join(timeout=5)

    def terminate(self, _worker: Any) -> None:
        self._stopping.set()
        self._ended.set()


def _start_thread(
    name: str, part: Reconciler | Renewal, has_ended: Callable[[float], bool]
) -> threading.Thread:
    def run() -> None:
        while not has_ended(part.pause_s()):
            try:
                part.tick()
            except BatutaError as error:
                logger.warning("reconcile-failed: %s", error)
            except Exception:  # a fault here must not end repair for ever
                logger.exception("reconcile-failed")

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


def _split(member: str) -> tuple[str, str]:
    job, _, rest = member.rpartition("|")
    return job, rest
