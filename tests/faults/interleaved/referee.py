"""The referee of an interleaving: sees every begin and the end, and says what is foul.

Owns the rules. Invariant: it reads with a memory of its own, so that it is never out of date.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from kombu.utils.json import dumps, loads

from coordinator.errors import JobNotFound
from coordinator.plan import PHASE_CHECK, PHASE_ERRBACK, PHASE_WORK, Plan, PlannedStep, prefix_of
from coordinator.settings import Settings
from coordinator.state import StateManager
from coordinator.states import State
from coordinator.stream import Stream

#: The hashes and strings of a job.
KEPT = "m p r x g f e a b s v"
BEGINS_IN = {
    PHASE_CHECK: State.RECEIVED,
    PHASE_WORK: State.PROCESSING,
    PHASE_ERRBACK: State.FAILED,
}


class Foul(AssertionError):
    """A rule was broken."""


def digest(value: Any) -> str:
    """Return a value's fingerprint: each record has that of what its run was given."""
    return hashlib.sha256(dumps(value).encode()).hexdigest()[:8]


class Referee:
    """Knows the job only from what Redis holds."""

    def __init__(self, settings: Settings, job: str) -> None:
        self._settings = settings
        self._job = job
        self._state = StateManager(settings)
        self._fences: dict[str, int] = {}

    def sees_begin(self, step: PlannedStep, number: int) -> None:
        """A step may run: its fence is higher than ever, its job moves, it is its turn."""
        if number <= self._fences.get(step.key, 0):
            raise Foul(f"the fence of {step.key} is {number}, and was {self._fences[step.key]}")
        self._fences[step.key] = number
        if (state := self._state.state(self._job)) != BEGINS_IN[step.phase]:
            raise Foul(f"{step.key}, of phase {step.phase}, begins while the job is {state}")
        if step.phase != PHASE_ERRBACK:
            self.sees_turn(step)

    def sees_turn(self, step: PlannedStep) -> None:
        """A step begins, or fails by its message: it is the plan's, and what it waits on has come about."""
        self._state.look_at_epoch(self._job)
        try:
            plan = self._state.plan(self._job, prefix_of(step.key))
        except JobNotFound as error:
            raise Foul(f"{step.key} is of a canvas that was forgotten") from error
        if isinstance(plan, Stream):
            return
        present = plan.by_key.get(step.key)
        if present is None or (present.task, present.follow) != (step.task, step.follow):
            raise Foul(f"{step.key} runs as {step.task}; in its place now stands {present}")
        if not plan.is_ready(step.after, self._state.recorded(self._job)):
            raise Foul(f"{step.key} runs before {step.after} has come about")

    def sees_end(self, memories: Iterable[StateManager]) -> None:
        """The job succeeded: all is counted, nothing forgotten was used, all processes see the same."""
        status = self._state.status(self._job)
        if status.steps_done != status.steps_total:
            raise Foul(f"{status.steps_done} of {status.steps_total} steps are done")
        self._sees_values()
        result = StateManager(self._settings).result(self._job)
        for memory in memories:
            if (seen := memory.result(self._job)) != result:
                raise Foul(f"a process sees the result {seen}, it is {result}")

    def sees_nothing_left(self, indexed: list[str]) -> None:
        """What is kept goes with its time, and nothing waits to be done."""
        if indexed:
            raise Foul(f"left in Redis: {indexed}")
        client = self._state.client
        for_ever = [key for key in self._state.keys.named(self._job, KEPT) if client.pttl(key) == -1]
        if for_ever:
            raise Foul(f"kept for ever: {for_ever}")

    def picture(self) -> list[str]:
        """Return the plan, what stands in the places of steps, and what is recorded, for the report."""
        state, job = self._state, self._job
        state.look_at_epoch(job)
        lines = [f"plan: {_spelled(state.plan(job))}"]
        lines += [f"at {key}: {_spelled(plan)}" for key, plan in sorted(state.fragments(job).items())]
        lines.append(f"{state.state(job)}; recorded: {sorted(state.recorded(job))}")
        lines.append(f"attempts: {sorted(state._attempts(job).items())}")
        return lines

    def _sees_values(self) -> None:
        self._state.look_at_epoch(self._job)
        fragments = self._state.fragments(self._job)
        records = self._state.client.hgetall(self._state.keys.named(self._job, "r")[0])
        for plan in (self._state.plan(self._job), *fragments.values()):
            for step in () if isinstance(plan, Stream) else plan.steps:
                text = records.get(step.key.encode(), b"")
                if step.takes and step.key not in fragments and text.startswith(b"["):
                    self._sees_value(plan, step, text)

    def _sees_value(self, plan: Plan, step: PlannedStep, text: bytes) -> None:
        try:
            value = self._state.value(self._job, plan.joins.get(step.after, step.after))
        except JobNotFound:  # of a lane that lost
            return
        if loads(text)[0][2] != digest(value):
            raise Foul(f"{step.key} is recorded on a value that was forgotten: {text!r}; it is {value} now")


def _spelled(plan: Plan) -> str:
    if isinstance(plan, Stream):
        return f"each {dict(plan.each)}"
    return "; ".join(
        f"{step.key}={step.label} after {step.after}, then {step.follow}"
        + (f", errbacks {step.errbacks}" if step.errbacks else "")
        for step in plan.steps
    )
