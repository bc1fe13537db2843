"""Tell a lost message from a slow one, by a probe in the queue.

Owns the probes. Invariant: a step is sent again only when a probe that was put
into its queue after the step was seen to be open has been consumed, and the
step is open still. A queue is first in, first out, so everything that was sent
to it before the probe has been delivered by then. A probe is named by the time
it was sent (Redis' clock, ms). At most one a queue is under way; another
follows only after a patience that doubles, for probes can be lost too.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from coordinator.errors import JobNotFound
from coordinator.parts import Parts
from coordinator.plan import PHASE_CHECK, PHASE_WORK, PlannedStep
from coordinator.states import State

PROBE = "coordinator.probe"
#: From the probe's return to the verdict: a message may have been delivered just before the probe.
SETTLE_S = 1.0
FIRST_PATIENCE_S = 4.0
LONGEST_PATIENCE_S = 60.0

_PHASES = {State.RECEIVED: PHASE_CHECK, State.PROCESSING: PHASE_WORK}

logger = logging.getLogger(__name__)


@dataclass
class _Suspicion:
    """The open steps of a job when they were first seen."""

    seen_ms: int
    attempts: dict[str, int]  # key -> attempts begun
    returned_at: float | None = None  # when the last probe's return was seen, monotonic


class Watermark:
    """Finds and repairs the lost messages of quiet jobs. For one thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._state = parts.state
        self._suspicions: dict[str, _Suspicion] = {}
        self._sent: dict[str, tuple[int, float]] = {}  # queue -> newest probe (ms), patience (s)

    def repair(self, job: str) -> bool | None:
        """Look at one quiet job.

        Returns:
            None while a probe is still to come back; False where nothing is lost; True when steps were
            sent again.
        """
        open_steps = self._open(job)
        if not open_steps:
            self._suspicions.pop(job, None)
            return False
        begun = self._state.begun(job)
        suspicion = self._suspicions.get(job)
        if suspicion is None:
            attempts = {step.key: begun.get(step.key, 0) for step in open_steps}
            suspicion = self._suspicions[job] = _Suspicion(self._state.now_ms(), attempts)
        queues = {self._parts.dispatcher.queue_of(step) for step in open_steps}
        came_back = [self._has_come_back(queue, suspicion.seen_ms) for queue in queues]  # probes each queue
        if not all(came_back):
            return None
        if suspicion.returned_at is None:
            suspicion.returned_at = time.monotonic()
        if time.monotonic() - suspicion.returned_at < SETTLE_S:
            return None
        del self._suspicions[job]
        lost = [step for step in open_steps if suspicion.attempts.get(step.key) == begun.get(step.key, 0)]
        self._send_again(job, lost)
        return bool(lost)

    def _send_again(self, job: str, lost: list[PlannedStep]) -> None:
        for step in lost:
            self._state.note_outbox(job, f"={step.key}")
            self._parts.outbox.send_again(job, f"={step.key}")
        if lost:
            self._state.note_event(job, "redriven", lost[0].key, f"{len(lost)} messages were lost")
            logger.warning("redriven: %s messages of job %s were lost", len(lost), job)

    def _open(self, job: str) -> list[PlannedStep]:
        """Return the steps that should be on their way: ready, idle, and not in the outbox."""
        try:
            phase = _PHASES.get(self._state.state(job))
            steps = [step for step in self._parts.outbox.frontier(job) if step.phase == phase]
            noted = self._state.noted(job, {trigger for step in steps for trigger in _triggers(step)})
        except JobNotFound:
            return []
        return [step for step in steps if not noted.intersection(_triggers(step))]

    def _has_come_back(self, queue: str, since_ms: int) -> bool:
        """Whether a probe sent since then came back; sends one where none is under way."""
        returned = self._state.probe_returned(queue)
        if returned >= since_ms:
            return True
        newest, patience_s = self._sent.get(queue, (0, FIRST_PATIENCE_S))
        now = self._state.now_ms()
        if returned >= newest:
            patience_s = FIRST_PATIENCE_S
        elif now - newest < patience_s * 1000:
            return False
        else:
            patience_s = min(patience_s * 2, LONGEST_PATIENCE_S)
        self._sent[queue] = (now, patience_s)
        self._parts.dispatcher.dispatch_task(PROBE, {"queue": queue, "sent_ms": now}, queue=queue)
        return False


def _triggers(step: PlannedStep) -> set[str]:
    """Return the outbox entries that would send a step."""
    root = step.key.rpartition("/")[0]
    return {"*", f"={step.key}", step.after or (f"{root}/^" if root else "^")}
