"""Send what a trigger names, then take it off the outbox.

Owns the way from a trigger to messages. Invariant: an outbox entry goes only after the broker has
confirmed all of its messages, and that of an error callback only when it has ended, so a crash at any
place leaves an entry that somebody else sends. First dispatch, crash recovery, retry and resume all end here.
"""

from __future__ import annotations

import contextlib
import functools
import struct
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from coordinator.dispatcher import TaskDispatcher
from coordinator.errors import JobNotFound, StateUnreachable, StepTooLarge
from coordinator.plan import PHASE_ERRBACK, Plan, PlannedStep, prefix_of
from coordinator.state import StateManager
from coordinator.state.keys import step_id
from coordinator.state.plans import FIRST_EPOCH
from coordinator.stream import Stream

#: While many messages are on their way, how often their entry is said to be in hand.
TOUCHED_EVERY_S = 0.3
#: What the value of an option, or a route, may raise in Celery, kombu and py-amqp.
UNSENDABLE = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, struct.error)
#: When an entry was noted that is not there.
NOT_NOTED = "0"
#: The trigger that names whatever is ready and not recorded.
FRONTIER = "*"


class Outbox:
    """Joins the state manager and the dispatcher."""

    def __init__(self, state: StateManager, dispatcher: TaskDispatcher) -> None:
        self._state = state
        self._dispatcher = dispatcher

    def send(self, job: str, triggers: Sequence[str], epoch: str = "") -> int:
        """Send what the triggers name; returns the number of messages.

        Args:
            epoch: in which they came about; the last that this process noticed if it is ''. Another thread
                may have noticed a later one, in which it may not be their turn.
        """
        epoch = epoch or self._state.epoch(job)
        named = [trigger for trigger in triggers if trigger.startswith("=")]
        count = self._deliver_named(job, named, epoch) if named else 0
        for trigger in triggers:
            if trigger in named:
                continue
            steps = self._state.plan(job, prefix_of(trigger)).sent_by(trigger)
            count += self._deliver(job, [trigger], steps, epoch=epoch)
        return count

    def send_first(self, job: str, plan: Plan) -> int:
        """Send what a job begins with, from the plan that it was just submitted with."""
        return self._deliver(job, [plan.root_trigger], plan.sent_by(plan.root_trigger), epoch=FIRST_EPOCH)

    def send_again(self, job: str, trigger: str) -> int:
        """Send what a trigger names and is neither recorded nor running: for an entry that was left.

        Returns the number of messages.
        """
        since = self._state.noted_at(job, trigger)  # before the journal: whoever notes it anew knows more
        if since == NOT_NOTED:
            return 0  # somebody else has sent it
        return self._send_left(job, [trigger], since)

    def send_all_again(self, job: str, triggers: Sequence[str]) -> int:
        """As ``send_again``, for steps that are named one by one: the journal is read once for them all.

        Returns the number of messages.
        """
        since = self._state.touch(job, *triggers)  # one time for all
        return self._send_left(job, triggers, since) if since else 0

    def _send_left(self, job: str, triggers: Sequence[str], since: str) -> int:
        epoch = self._state.look_at_epoch(job)  # before the journal too; another thread may notice a new one
        plans = self._plans(job, triggers)
        if not plans:  # the job is kept no longer, or the canvas was forgotten
            self._state.sent(job, triggers, epoch, since)
            return 0
        steps = self._open_steps(job, triggers, plans, epoch)
        named = [step for trigger in triggers for step in _named(trigger, plans)]
        return self._deliver(job, triggers, steps, named, epoch=epoch, since=since)

    def send_lost(self, job: str, keys: Collection[str]) -> int:
        """Send steps again whose messages were lost, all at once, unless they have begun meanwhile.

        Returns the number of messages.
        """
        triggers = [f"={key}" for key in keys]
        since = self._state.note_outbox(job, *triggers)
        epoch, ready = self._look(job)
        return self._deliver(job, triggers, [s for s in ready if s.key in keys], epoch=epoch, since=since)

    def frontier(self, job: str) -> list[PlannedStep]:
        """Return the steps that are ready, not recorded, not running and not waiting for a timer."""
        return self._look(job)[1]

    def _look(self, job: str) -> tuple[str, list[PlannedStep]]:
        """Return a job's epoch, and its frontier as it was not before that."""
        epoch = self._state.look_at_epoch(job)  # before the journal
        return epoch, self._open_steps(job, [FRONTIER], {"": self._state.plan(job)}, epoch)

    def _plans(self, job: str, triggers: Sequence[str]) -> dict[str, Plan]:
        """Return the plans that triggers are of, by prefix: none of a canvas that was forgotten."""
        found: dict[str, Plan] = {}
        for prefix in {prefix_of(trigger) for trigger in triggers}:
            with contextlib.suppress(JobNotFound):
                found[prefix] = self._state.plan(job, prefix)
        return found

    def _deliver_named(self, job: str, triggers: Sequence[str], epoch: str) -> int:
        """Send steps that are named one by one and have never been sent, all at once."""
        plans = {prefix_of(trigger): self._state.plan(job, prefix_of(trigger)) for trigger in triggers}
        steps = [step for trigger in triggers for step in plans[prefix_of(trigger)].sent_by(trigger)]
        self._hand_over(job, steps, epoch=epoch)
        self._note_sent(job, triggers, steps, epoch)
        return len(steps)

    def _deliver(
        self,
        job: str,
        triggers: Sequence[str],
        steps: Sequence[PlannedStep],
        named: Sequence[PlannedStep] = (),
        *,
        epoch: str,
        since: str = "",
    ) -> int:
        """Send steps, all that triggers of one sort name or what is left, and take these off the outbox.

        Args:
            since: when the entries were noted that go; any go if it is ''.
        """
        is_named = triggers[0].startswith("=")
        steps = self._due_now(job, steps, have_waited=is_named)
        retries = self._state.retries(job) if is_named or triggers[0] == FRONTIER else {}
        touch = _Touch(self._state, job, triggers, since)
        self._hand_over(job, steps, retries, touch, epoch=epoch)
        self._note_sent(job, triggers, named or steps, epoch, touch.since)
        return len(steps)

    def _note_sent(
        self, job: str, triggers: Sequence[str], steps: Sequence[PlannedStep], epoch: str, since: str = ""
    ) -> None:
        """Take triggers off the outbox; error callbacks stay there until they have ended."""
        callbacks = {f"={step.key}" for step in steps if step.phase == PHASE_ERRBACK}
        if called := [trigger for trigger in triggers if trigger in callbacks]:
            self._state.called(job, called)
        if gone := [trigger for trigger in triggers if trigger not in callbacks]:
            self._state.sent(job, gone, epoch, since)

    def _hand_over(
        self,
        job: str,
        steps: Sequence[PlannedStep],
        retries: Mapping[str, int] | None = None,
        on_part: Callable[[], None] | None = None,
        *,
        epoch: str,
    ) -> None:
        """Publish steps; one whose message can't be made or taken fails, and holds up no other."""
        try:
            self._dispatcher.send(job, steps, retries, epoch=epoch, on_part=on_part)
        except (StepTooLarge, *UNSENDABLE) as refused:
            if not steps:
                raise
            if len(steps) == 1:
                refusal = _refusal(job, steps[0], refused)
                phase = steps[0].phase
                self._state.fail(job, steps[0].key, refusal, owner="?", epoch=epoch, phase=phase)
                return
            half = len(steps) // 2
            for part in (steps[:half], steps[half:]):
                self._hand_over(job, part, retries, on_part, epoch=epoch)

    def _due_now(self, job: str, steps: Sequence[PlannedStep], *, have_waited: bool) -> Sequence[PlannedStep]:
        """Set the timers of the steps that are to run later, and return the others."""
        later = [step for step in steps if step.is_delayed]
        if not later:
            return steps
        due = self._state.postpone(job, later, have_waited=have_waited)
        return [step for step in steps if step.key in due or not step.is_delayed]

    def _open_steps(
        self, job: str, triggers: Sequence[str], plans: Mapping[str, Plan], epoch: str
    ) -> list[PlannedStep]:
        named = [step for trigger in triggers for step in _named(trigger, plans)]  # none by the frontier
        is_frontier = FRONTIER in triggers
        recorded = self._state.recorded(job, None if is_frontier else _around(named, plans))
        busy = self._state.busy(job)
        fragments: Mapping[str, Plan] = {}
        if is_frontier:
            fragments = self._state.fragments(job)
            if plans[""].is_complete(recorded):
                self._state.complete(job, epoch)
            steps = plans[""].frontier(recorded, fragments)
        else:
            steps = [step for step in named if self._is_open(job, step, plans[prefix_of(step.key)], recorded)]
        busy |= self._state.waiting(job, [step.key for step in steps if step.is_delayed])
        return [s for s in steps if s.key not in recorded and s.key not in busy and s.key not in fragments]

    def _is_open(self, job: str, step: PlannedStep, plan: Plan, recorded: Collection[str]) -> bool:
        """Whether it is a step's turn: an entry may be older than a retry from a step before it."""
        if isinstance(plan, Stream):
            return self._state.is_open(job, step.key)
        return step.phase == PHASE_ERRBACK or plan.is_ready(step.after, recorded)


class _Touch:
    """Says now and then that the many messages of triggers are still being sent."""

    def __init__(self, state: StateManager, job: str, triggers: Sequence[str], since: str) -> None:
        self.since = since
        self._touch = functools.partial(state.touch, job, *triggers)
        self._at = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._at > TOUCHED_EVERY_S:
            with contextlib.suppress(
                StateUnreachable
            ):  # then somebody else may send them too, which is harmless
                touched = self._touch(since=self.since)
                self.since = touched if self.since and touched else self.since
            self._at = time.monotonic()


def _named(trigger: str, plans: Mapping[str, Plan]) -> list[PlannedStep]:
    """Return the steps that a trigger names, where its plan is still there."""
    plan = plans.get(prefix_of(trigger))
    return plan.sent_by(trigger) if plan else []


def _around(steps: Sequence[PlannedStep], plans: Mapping[str, Plan]) -> set[str]:
    """Return the keys of steps, and of those that they wait on."""
    parts = (plan.around([s for s in steps if prefix_of(s.key) == prefix]) for prefix, plan in plans.items())
    return set().union(*parts)


def _refusal(job: str, step: PlannedStep, error: Exception) -> dict[str, str]:
    kind = "StepUnsendable"
    message = f"no message can be made of {step.task}: {error!r}; look at its options and routes"
    if isinstance(error, StepTooLarge):
        kind = "StepTooLarge"
        message = f"{error}; pass large arguments by reference, or raise RabbitMQ's max_message_size"
    return {
        "step": step_id(job, step.key, step.label),
        "task": step.task,
        "type": kind,
        "message": message,
        "traceback": "",
    }
