"""What is between the processes: messages under way, and time.

Owns what can be lost, doubled or late. Invariant: a message is delivered in any order, perhaps twice,
perhaps never; a timer or a lease that runs out does so when the course wants it. Everything else is Redis'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from coordinator.plan import PlannedStep
from coordinator.state import StateManager
from coordinator.state.plans import FIRST_EPOCH
from tests.faults.interleaved.course import Course

DOUBLED = 0.05
#: A time that has come, for every clock.
LONG_AGO = 1


class Message(NamedTuple):
    """A step on its way to a worker, and the epoch in which it was sent."""

    step: PlannedStep
    epoch: str


class Wire:
    """The messages under way. An outbox takes it for its dispatcher."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self.under_way: list[Message] = []
        self.lost: set[str] = set()  # the steps whose messages never came

    def send(
        self,
        job: str,
        steps: Sequence[PlannedStep],
        retries: Mapping[str, int] | None = None,
        *,
        epoch: str = FIRST_EPOCH,
        on_part: Callable[[], None] | None = None,
    ) -> None:
        self._course.meanwhile()  # the steps were found in a plan some reads ago
        self.under_way += [Message(step, epoch) for step in steps]

    def close(self) -> None:
        """Nothing is held back here."""

    def take(self) -> Message:
        """Take a message to be delivered, perhaps one that comes again."""
        message = self._any()
        if self._course.chance(DOUBLED):
            self.under_way.append(message)
        return message

    def lose(self) -> Message:
        """Lose a message, and return it."""
        message = self._any()
        self.lost.add(message.step.key)
        self._course.say("wire", "lost", message.step.key)
        return message

    def _any(self) -> Message:
        return self.under_way.pop(self._course.dice.randrange(len(self.under_way)))


class Clock:
    """Lets what would come about later come about now, instead of waiting for it."""

    def __init__(self, course: Course, state: StateManager, job: str) -> None:
        self._course = course
        self._client = state.client
        self._indexes = {name: state.keys.named(job, name)[0] for name in ("timers", "leases", "outbox")}

    def ring(self, *names: str, share: float = 1.0) -> None:
        """Let the time of such a share of a job's timers, leases or outbox entries come."""
        for name in names:
            members = sorted(self._client.zrange(self._indexes[name], 0, -1))
            due = [member for member in members if share == 1 or self._course.dice.random() < share]
            for member in due:
                self._client.zadd(self._indexes[name], {member: LONG_AGO}, xx=True)
                self._course.say("clock", name, member.decode().partition("|")[2])

    def expire(self, member: str) -> None:
        """Let one lease run out: its worker is gone."""
        self._client.zadd(self._indexes["leases"], {member: LONG_AGO}, xx=True)

    def left(self) -> list[str]:
        """Return what the indexes hold."""
        found = [self._client.zrange(index, 0, -1) for index in self._indexes.values()]
        return [member.decode() for members in found for member in members]
