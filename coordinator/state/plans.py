"""The plans of jobs, kept at hand for a while.

Owns which plan a process goes by. Invariant: a job's own plan never changes; what stands in a step's
place does not while its job's epoch is the same. Where steps are made to run again, and may put
another canvas in their place, the epoch rises, and whoever acts on a plan, or shows what it gave,
has noticed it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any

from coordinator.errors import JobNotFound
from coordinator.plan import Plan
from coordinator.state.keys import Keys
from coordinator.state.reaching import reaching
from coordinator.stream import plan_of

#: Shorter than the shortest retention: the id of a job that had not ended names no other plan within it.
PLAN_CACHE_S = 50.0
PLAN_CACHE_SIZE = 64
#: How long a key lives, in Redis' words, that is to stay.
NO_END = -1
#: Of a job no step of which was made to run again.
FIRST_EPOCH = "0"


class Plans:
    """What is to run. Safe to share between threads."""

    def __init__(self, client: Any, keys: Keys) -> None:
        self.client = client
        self.keys = keys
        self._plans: OrderedDict[tuple[str, ...], tuple[float, Plan]] = OrderedDict()
        self._epochs: dict[str, str] = {}  # of the jobs that were retried from a step

    def plan(self, job: str, prefix: str = "") -> Plan:
        """Return a job's plan, or with ``prefix`` "5/" the plan that took the place of step 5."""
        known = self._known_as(job, prefix)  # before it is read: another thread may notice a new epoch
        cached = self._plans.get(known)
        if cached and time.monotonic() - cached[0] < PLAN_CACHE_S:
            return cached[1]
        blob, left_ms = self._read(job, prefix)
        if blob is None:
            raise JobNotFound(f"job {job} has no plan {prefix!r} any more", job=job)
        plan = plan_of(blob)
        # Of a job that goes soon no plan is kept: its id may come to name another.
        return self._keep(known, plan) if left_ms == NO_END or left_ms > PLAN_CACHE_S * 1000 else plan

    def _read(self, job: str, prefix: str) -> tuple[bytes | None, int]:
        """Return a plan as Redis holds it, and for how long it will (ms)."""
        key = self.keys.named(job, "g" if prefix else "p")[0]
        with reaching(self.client.url):
            pipe = self.client.pipeline(transaction=False)
            pipe.hget(key, prefix[:-1]) if prefix else pipe.get(key)
            pipe.pttl(key)
            blob, left_ms = pipe.execute()
        return blob, left_ms

    def _known_as(self, job: str, prefix: str) -> tuple[str, ...]:
        return (job, prefix, self.epoch(job)) if prefix else (job,)

    def _keep(self, known: tuple[str, ...], plan: Plan) -> Plan:
        self._plans[known] = (time.monotonic(), plan)
        while len(self._plans) > PLAN_CACHE_SIZE:
            self._plans.popitem(last=False)
        return plan

    def epoch(self, job: str) -> str:
        """Return a job's epoch as far as this process has noticed it."""
        return self._epochs.get(job, FIRST_EPOCH)

    def notice_epoch(self, job: str, epoch: str) -> None:
        """Forget the plans of a job whose steps have been made to run again since they were read."""
        if self.epoch(job) == epoch:
            return
        for known in [known for known in list(self._plans) if known[0] == job]:  # other threads add to it
            self._plans.pop(known, None)
        self._epochs[job] = epoch
        if epoch == FIRST_EPOCH:
            self._epochs.pop(job, None)

    def look_at_epoch(self, job: str) -> str:
        """Notice the epoch of a job in a process that begins none of its steps, and return it."""
        epoch = epoch_of(self.client.hget(self.keys.named(job, "m")[0], "epoch"))
        self.notice_epoch(job, epoch)
        return epoch

    def remember_blob(self, job: str, blob: bytes) -> None:
        """Keep a job's own plan at hand, from the form in which Redis holds it."""
        self._keep((job,), plan_of(blob))

    def knows_plan(self, job: str) -> bool:
        cached = self._plans.get((job,))
        return cached is not None and time.monotonic() - cached[0] < PLAN_CACHE_S


def epoch_of(field: bytes | None) -> str:
    """Return the epoch that a job's field says."""
    return FIRST_EPOCH if field is None else field.decode()
