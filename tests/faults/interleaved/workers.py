"""The worker of an interleaving: an attempt in two halves, with anything in between.

Owns what ``Attempt`` and ``StepRequest`` do with the answers of the scripts, and every way in which a
run can end. Invariant: record, then send, as in ``coordinator/attempt.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kombu.utils.json import dumps, loads

from coordinator.batch import beginning
from coordinator.errors import JobNotFound
from coordinator.plan import PHASE_ERRBACK, PlannedStep, prefix_of
from coordinator.sources import Opened
from coordinator.stream import BATCH, Stream
from coordinator.validation import GATE
from tests.faults.interleaved.processes import JOB, Process
from tests.faults.interleaved.random_jobs import plan_in_place_of, random_each
from tests.faults.interleaved.referee import Referee, digest
from tests.faults.interleaved.wire import Clock, Message, Wire

LATER_MS = 1_000_000
#: Canvases in the places of steps: so many, and so deep.
MOST_CANVASES, DEEPEST = 6, 2
LAST_PAGE = 2


@dataclass(frozen=True)
class Run:
    """An attempt that runs."""

    step: PlannedStep
    number: int  # the fence
    token: str
    value: Any  # of what came before
    share: str | None  # of a stream's step: which of its items
    epoch: str  # of its message


class Worker(Process):
    """Begins steps whose messages it gets, and ends them in any way."""

    def __init__(self, *process: Any, wire: Wire, clock: Clock, referee: Referee) -> None:
        super().__init__(*process, wire)
        self._wire = wire
        self._clock = clock
        self._referee = referee
        self._canvases = 0
        self.running: list[Run] = []

    # -- the first half -----------------------------------------------------

    def begin(self, message: Message) -> None:
        """Take the right to run a step, or do what is left of it."""
        step, token = message.step, self.course.token(self.name)
        take = step.after or "" if step.takes else ""
        is_join = take.rpartition("/")[2].startswith("j")
        answer = self.state.begin(JOB, step, token, record_of="" if is_join else take)
        self.say("delivered", step.key, *answer[:2])
        if answer[0] in ("recorded", "expanded"):
            self.send_left(answer[1:])
        elif answer[0] == "exhausted":
            self._fail(step, answer[1])
        elif answer[0] == "run":
            self._start(message, token, answer)

    def let_expire(self, message: Message) -> None:
        """Tell of a message that came too late, as Celery does through the backend."""
        key, error = message.step.key, _error(message.step)
        says = {"epoch": message.epoch, "phase": message.step.phase}
        verdict = self.state.fail(JOB, key, error, owner="?", **says)
        self.say("refused as expired", key, verdict)
        if verdict in ("failed", "out"):
            self._referee.sees_turn(message.step)

    def _start(self, message: Message, token: str, answer: list[Any]) -> None:
        _, number, _, _, record, _, epoch, share = answer
        step = message.step
        self.state.notice_epoch(JOB, epoch)
        if epoch != message.epoch:
            self._give_back(step, token)
            self.state.note_outbox(JOB, f"={step.key}")
            return
        self._referee.sees_begin(step, number)
        try:
            value = self._value(step, record) if step.takes else None
        except JobNotFound:
            self._give_back(step, token)
            return
        self.running.append(Run(step, number, token, value, share, message.epoch))

    def _value(self, step: PlannedStep, record: str | None) -> Any:
        take = step.after or ""
        if record is not None:
            return self.state.value_of_record(JOB, take, record)
        self.course.meanwhile()
        plan = self.state.plan(JOB, prefix_of(take))
        return self.state.value(JOB, plan.joins.get(take, take))

    def _give_back(self, step: PlannedStep, token: str) -> None:
        self.state.release(JOB, step.key, "returned", token)
        self.say("gave back", step.key)

    # -- the second half ----------------------------------------------------

    def end(self) -> None:
        """Let a run end: most are recorded, all are in the calm."""
        run = self.running.pop(self.course.dice.randrange(len(self.running)))
        ways: list[tuple[float, Callable[[Run], None]]] = [
            (0.08, lambda run: self._fail(run.step, run.number)),
            (0.05, self._try_later),
            (0.05, self._lose_child),
            (0.04, self._vanish),
            (0.12, self._put_in_place if self._may_be_replaced(run.step) else self._record),
        ]
        for share, way in ways:
            if self.course.chance(share):
                way(run)
                return
        self._record(run)

    def _record(self, run: Run) -> None:
        key, record = run.step.key, self._record_of(run)
        if run.step.task == GATE:
            trigger = next(part[1] for part in run.step.follow if part[0] == "next")
            answer = self.state.decide(JOB, key, run.number, record, trigger, {})
        else:
            turn = "" if run.share is None else self._turn(run)
            answer = self.state.finish(JOB, key, run.number, record, run.step.follow, turn)
        self.say("finished", key, run.number, *answer)
        if answer[0] == "over":  # more items failed than may
            self._fail(run.step, run.number)
        elif answer[0] in ("recorded", "already"):
            self.send(answer[1:])

    def _record_of(self, run: Run) -> str:
        value: Any = [run.step.key, run.number, digest(run.value)]
        if run.share is not None:
            share = loads(run.share)
            value = [value] * (share[3] if share[0] == "items" else 1)
        return str(dumps([value, run.number, 1, 1, self.name]))

    def _turn(self, run: Run) -> str:
        """Return what came of a stream's step, for ``lua/stream.lua``."""
        share = loads(run.share)
        if share[0] == "page":
            turn: dict[str, Any] = {"count": 1, "items": dumps([share[1]])}
            if share[1] < LAST_PAGE:
                turn["next"] = dumps(share[1] + 1)
            return str(dumps(turn))
        if share[0] == "merge":
            return "{}"
        failed = 1 if self.course.chance(0.1) and self._failures_allowed(run.step) else 0
        failures = {str(share[2]): "{}"} if failed else {}
        return str(dumps({"count": share[3], "failed": failed, "failures": failures, "item_us": 1000}))

    def _failures_allowed(self, step: PlannedStep) -> bool:
        try:
            plan = self.state.plan(JOB, prefix_of(step.key))
        except JobNotFound:
            return False
        return isinstance(plan, Stream) and plan.each["allow_failed"] > 0

    def _fail(self, step: PlannedStep, number: int) -> None:
        verdict = self.state.fail(JOB, step.key, _error(step), attempt=number)
        self.say("failed", step.key, number, verdict)
        if verdict == "failed":
            self.send([f"={key}" for key in step.errbacks])

    def _try_later(self, run: Run) -> None:
        verdict = self.state.defer(JOB, run.step.key, run.number, LATER_MS, "later")
        self.say("deferred", run.step.key, run.number, verdict)

    def _lose_child(self, run: Run) -> None:
        """The child is killed: the parent gives the lease back, and the broker delivers again."""
        self.state.release(JOB, run.step.key, "lost", run.token)
        self._wire.under_way.append(Message(run.step, run.epoch))
        self.say("lost the child of", run.step.key, run.number)

    def _vanish(self, run: Run) -> None:
        """The whole worker is gone, and its message with it: nobody renews the lease."""
        held = self.state._attempts(JOB).get(run.step.key)
        if held and held[3] == run.token:
            self._clock.expire(f"{JOB}|{run.step.key}")
        self.say("vanished with", run.step.key, run.number)

    # -- canvases in the place of steps -------------------------------------

    def _may_be_replaced(self, step: PlannedStep) -> bool:
        is_of_user = step.task not in (BATCH, GATE) and step.phase != PHASE_ERRBACK
        return is_of_user and self._canvases < MOST_CANVASES and step.key.count("/") <= DEEPEST

    def _put_in_place(self, run: Run) -> None:
        self._canvases += 1
        (self._stream if self.course.chance(0.35) else self._expand)(run)

    def _expand(self, run: Run) -> None:
        plan = plan_in_place_of(run.step, self.course.dice)
        verdict = self.state.expand(JOB, run.step.key, run.number, plan)
        self.say("expanded", run.step.key, run.number, verdict, len(plan.steps))
        if verdict != "fenced":
            self.send([plan.root_trigger])

    def _stream(self, run: Run) -> None:
        source, limits = random_each(self.course.dice)
        opened = Opened(source)
        stream = Stream.under(run.step, {**limits, "source": opened.source})
        fields = beginning(stream.each, opened, run.number)
        answer = self.state.open_stream(JOB, run.step.key, run.number, stream, fields)
        self.say("opened", run.step.key, run.number, *answer)
        if answer[0] != "fenced":
            self.send(answer[1:])


def _error(step: PlannedStep) -> dict[str, str]:
    return {"step": step.key, "task": step.task, "type": "Error", "message": "no", "traceback": ""}
