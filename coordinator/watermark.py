"""Tell a lost message from a slow one, by a probe in the queue.

Owns the probes and the suspicions. Invariant: a step is sent again only when a
probe that was put into its queue after the step was seen to be open has been
consumed, and the step is open still. A queue is first in, first out among messages of
one priority, so everything that was sent to it before the probe, with the probe's own
priority, has been delivered by then: below, such a *lane* is meant. A probe is named by
the time it was sent (Redis' clock, ms). At most one a lane is under way; another
follows only after a patience that doubles, for probes can be lost too. While it is,
the jobs that wait for it cost one read for all lanes, however many they are.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from dataclasses import dataclass, field

from coordinator.counted import counted
from coordinator.errors import JobNotFound
from coordinator.parts import Parts
from coordinator.plan import PHASE_CHECK, PHASE_WORK, PlannedStep
from coordinator.routing import parse_lane
from coordinator.states import State

PROBE = "coordinator.probe"
#: From the probe's return to the verdict: a message may have been delivered just before the probe.
SETTLE_S = 1.0
FIRST_PATIENCE_S = 4.0
LONGEST_PATIENCE_S = 60.0
#: A suspicion of a job that was not called quiet again for so long is forgotten.
FORGOTTEN_AFTER_S = 900.0

_PHASES = {State.RECEIVED: PHASE_CHECK, State.PROCESSING: PHASE_WORK}

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Suspicion:
    """The open steps of a job in a lane when they were first seen."""

    seen_ms: int
    attempts: dict[str, int]  # key -> attempts begun
    raised_at: float = field(default_factory=time.monotonic)
    returned_at: float | None = None  # when the probe's return was seen, monotonic


@dataclass(slots=True)
class _Probe:
    """The newest probe of a lane."""

    sent_ms: int = 0
    sent_at: float = 0.0  # monotonic
    patience_s: float = FIRST_PATIENCE_S


class Watermark:
    """Finds and repairs the lost messages of quiet jobs. For one thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._state = parts.state
        self._suspected: dict[str, dict[str, _Suspicion]] = {}  # lane -> job -> suspicion
        self._probes: dict[str, _Probe] = defaultdict(_Probe)

    def suspect(self, job: str, *, is_first: bool) -> None:
        """Suspect the open steps of a quiet job: their messages may be lost.

        Args:
            job: nothing has moved it for a while.
            is_first: since it moved; otherwise a suspicion of it that is not settled yet is enough.
        """
        known = [jobs[job] for jobs in self._suspected.values() if job in jobs]
        for suspicion in known:
            suspicion.raised_at = time.monotonic()
        if known and not is_first:
            return
        begun = self._state.begun(job)
        found = self._open(job)
        now_ms = self._state.now_ms()  # after the look: what was open then was sent before
        self._state.forget_probes_after(now_ms)
        for lane, steps in found.items():
            attempts = {step.key: begun.get(step.key, 0) for step in steps}
            self._suspected.setdefault(lane, {}).setdefault(job, _Suspicion(now_ms, attempts))

    def settle(self, until: float) -> bool:
        """Send again what is lost in the lanes whose probe came back.

        Args:
            until: when to stop (monotonic); the rest is for the next call.

        Returns:
            whether something is left to settle now.
        """
        self._forget_old()
        lanes = list(self._suspected)
        for lane, returned_ms in zip(lanes, self._state.probes_returned(lanes), strict=True):
            now = time.monotonic()
            jobs = self._suspected[lane]
            if any(suspicion.seen_ms > returned_ms for suspicion in jobs.values()):
                self._send_probe(lane, returned_ms)
            for job, suspicion in list(jobs.items()):
                if suspicion.seen_ms > returned_ms:
                    continue
                suspicion.returned_at = suspicion.returned_at or now
                if now - suspicion.returned_at < SETTLE_S:
                    continue
                if time.monotonic() > until:
                    return True
                del jobs[job]
                self._judge(job, lane, suspicion)
        return False

    def _judge(self, job: str, lane: str, suspicion: _Suspicion) -> None:
        """Send the steps again that were suspected, and are open still."""
        begun = self._state.begun(job)
        steps = self._open(job).get(lane, ())
        lost = [step.key for step in steps if suspicion.attempts.get(step.key) == begun.get(step.key, 0)]
        if lost and (count := self._parts.outbox.send_lost(job, set(lost))):
            self._state.note_event(job, "redriven", lost[0], f"{counted(count, 'message')} lost")
            logger.warning("redriven: %s of job %s lost", counted(count, "message"), job)

    def _open(self, job: str) -> dict[str, list[PlannedStep]]:
        """Return the steps that should be on their way, by lane: ready, idle, and not in the outbox."""
        found: dict[str, list[PlannedStep]] = defaultdict(list)
        try:
            phase = _PHASES.get(self._state.state(job))
            steps = [step for step in self._parts.outbox.frontier(job) if step.phase == phase]
            noted = self._state.noted(job, {trigger for step in steps for trigger in _triggers(step)})
        except JobNotFound:  # kept no longer
            self._state.forget_quiet(job)
            return found
        for step in steps:
            if not noted.intersection(_triggers(step)):
                found[self._parts.dispatcher.lane_of(step)].append(step)
        return found

    def _send_probe(self, lane: str, returned_ms: int) -> None:
        """Send a probe where none is under way, or where the last one seems to be lost."""
        probe = self._probes[lane]
        if returned_ms >= probe.sent_ms:
            probe.patience_s = FIRST_PATIENCE_S
        elif time.monotonic() - probe.sent_at < probe.patience_s:
            return
        else:
            probe.patience_s = min(probe.patience_s * 2, LONGEST_PATIENCE_S)
        probe.sent_ms, probe.sent_at = self._state.now_ms(), time.monotonic()
        queue, priority = parse_lane(lane)
        payload = {"lane": lane, "sent_ms": probe.sent_ms}
        self._parts.dispatcher.dispatch_task(PROBE, payload, queue=queue, priority=priority)

    def _forget_old(self) -> None:
        oldest = time.monotonic() - FORGOTTEN_AFTER_S
        for lane, jobs in list(self._suspected.items()):
            for job in [job for job, suspicion in jobs.items() if suspicion.raised_at < oldest]:
                del jobs[job]
            if not jobs:
                del self._suspected[lane]


def _triggers(step: PlannedStep) -> set[str]:
    """Return the outbox entries that would send a step."""
    root = step.key.rpartition("/")[0]
    return {"*", f"={step.key}", step.after or (f"{root}/^" if root else "^")}
