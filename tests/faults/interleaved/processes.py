"""The processes of an interleaving: workers, people who steer, and the reconciler.

Each has its own memory of plans and epochs: a state manager and an outbox, both real, as is the Redis
behind them. What ``Attempt`` does in Celery's name, a worker does here in two halves, ``begin`` and
``end``, with anything in between. Invariant: before each script that a process runs, and each of its reads,
others may act.
"""

from __future__ import annotations

from typing import Any

from coordinator.errors import IllegalTransition, InvalidRequest, JobNotFound
from coordinator.outbox import Outbox
from coordinator.plan import PHASE_CHECK, PHASE_WORK
from coordinator.settings import Settings
from coordinator.state import StateManager
from coordinator.states import State
from coordinator.stream import Stream
from tests.faults.interleaved.course import MEANWHILE, MEANWHILE_OFTEN, MEANWHILE_READ, Course
from tests.faults.interleaved.wire import Clock, Wire

JOB = "random"
#: How often a process is killed between a record and the message that follows it.
UNSENT = 0.2


class Process:
    """A process that knows what it has read, and may be out of date."""

    def __init__(self, name: str, settings: Settings, course: Course, wire: Wire) -> None:
        self.name = name
        self.course = course
        self.state = StateManager(settings)
        self.outbox = Outbox(self.state, wire)  # type: ignore[arg-type]
        self._let_others_act_before(self.state._run, "keeping", MEANWHILE)
        for read in ("execute_command", "pipeline"):
            self._let_others_act_before(self.state.client, read, MEANWHILE_READ)
        for call in ("_steer", "complete", "sent"):
            self._let_others_act_before(self.state, call, MEANWHILE_OFTEN)

    def _let_others_act_before(self, owner: Any, name: str, share: float) -> None:
        call = getattr(owner, name)

        def call_later(*args: Any, **kwargs: Any) -> Any:
            self.course.meanwhile(share)
            return call(*args, **kwargs)

        setattr(owner, name, call_later)

    def say(self, what: str, *details: Any) -> None:
        self.course.say(self.name, what, *details)

    def send(self, triggers: list[str]) -> None:
        """Send what follows, or be killed before."""
        if not self.course.chance(UNSENT):
            try:
                self.outbox.send(JOB, triggers)
            except JobNotFound:  # a canvas that has been forgotten since
                self.say("unsent", *triggers)

    def send_left(self, triggers: list[str]) -> None:
        """Send what another process has left, or be killed before."""
        if not self.course.chance(UNSENT):
            for trigger in triggers:
                self.outbox.send_again(JOB, trigger)

    def keys(self) -> list[str]:
        """Return the keys of all steps that the job has."""
        self.state.look_at_epoch(JOB)
        plans = [self.state.plan(JOB), *self.state.fragments(JOB).values()]
        return sorted(step.key for plan in plans for step in plan.steps)


class Operator(Process):
    """A person's process: steers, and sends what may go on."""

    def steer(self) -> None:
        """Give any command; one that is refused changes nothing."""
        command = self.course.dice.choice(
            [self.cancel, self.pause, self.go_on, self.go_back, self.go_back, self.go_back, self.tune]
        )
        try:
            command()
        except (IllegalTransition, InvalidRequest):
            pass

    def cancel(self) -> None:
        self.state.cancel(JOB)
        self.say("cancelled")

    def pause(self) -> None:
        self.state.pause(JOB)
        self.say("paused")

    def go_on(self) -> None:
        """Resume or retry, whatever the job needs."""
        if self.state.state(JOB) == State.PAUSED:
            self.state.resume(JOB)
        else:
            self.state.retry(JOB)
        self.say("went on")
        self._send_frontier()

    def go_back(self) -> None:
        """Let the job go on from any of its steps; one that moves must be cancelled first."""
        if not self.state.state(JOB).is_terminal:
            self.cancel()
        key = self.course.dice.choice(self.keys())
        self.state.retry_from(JOB, key)
        self.say("retried from", key)
        self._send_frontier()

    def tune(self) -> None:
        self.state.look_at_epoch(JOB)
        plans = self.state.fragments(JOB)
        streams = sorted(key for key, plan in plans.items() if isinstance(plan, Stream))
        if streams:
            key = self.course.dice.choice(streams)
            triggers = self.state.tune(JOB, key, window=self.course.dice.randint(1, 5), batch=None)
            self.say("tuned", key)
            self.send(triggers)

    def _send_frontier(self) -> None:
        if not self.course.chance(UNSENT):
            self.outbox.send_again(JOB, "*")


class Reconciler:
    """Repairs what was left, in the memory of the worker that it runs in."""

    def __init__(self, host: Process, wire: Wire, clock: Clock) -> None:
        self._host = host
        self._state = host.state
        self._wire = wire
        self._clock = clock

    def repair(self) -> None:
        """Send what is due and what was left, and take back the leases that ran out."""
        dice = self._host.course.dice
        shard = self._state.keys.shard_of(JOB)
        found = self._state.overdue(-1, 1000)[shard]  # also what was noted in this millisecond
        todo = sorted(self._state.due(shard))
        for member in sorted(found.leases):
            key = member.partition("|")[2]
            if self._state.release(JOB, key, "expired") == "released":
                self._host.say("took back", key)
                todo.append(f"{JOB}|={key}")
        todo += sorted(found.outbox)
        dice.shuffle(todo)
        for member in todo:
            self._send(member.partition("|")[2])

    def find_lost(self) -> list[str]:
        """Send the steps again whose messages are missing: the watermark's verdict, without its probes."""
        phase = {State.PROCESSING: PHASE_WORK, State.RECEIVED: PHASE_CHECK}.get(self._state.state(JOB))
        under_way = {message.step.key for message in self._wire.under_way}
        idle = [step.key for step in self._host.outbox.frontier(JOB) if step.phase == phase]
        lost = [key for key in idle if key not in under_way]
        for key in lost:
            self._host.say("found lost", key)
            self._state.note_outbox(JOB, f"={key}")
            self._host.outbox.send_again(JOB, f"={key}")
        return lost

    def _send(self, trigger: str) -> None:
        if trigger == "!deadline":
            if self._state.fail_deadline(JOB, "too late"):
                self._host.say("missed its deadline")
            return
        count = self._host.outbox.send_again(JOB, trigger)
        self._host.say("sent again", trigger, count)
