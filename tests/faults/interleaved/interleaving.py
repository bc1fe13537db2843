"""One random job on several processes that take turns at random, by a seed, over a real Redis.

Owns the turns: first a storm, in which messages are lost and doubled, processes die, and people steer;
then the calm, in which the job must come to its end by what is always there: a retry where it stands, the
timers, the reconciler. Invariant: the seed alone decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coordinator.plan import PHASE_CHECK
from coordinator.settings import Settings
from coordinator.states import State
from tests.faults.interleaved.course import Course
from tests.faults.interleaved.processes import JOB, Operator, Reconciler
from tests.faults.interleaved.random_jobs import LATER_S, random_plan
from tests.faults.interleaved.referee import Foul, Referee
from tests.faults.interleaved.wire import Clock, Wire
from tests.faults.interleaved.workers import Worker

#: Of a storm.
TURNS = (20, 160)
#: Rounds of the calm, and how many of them may move nothing.
ROUNDS, IDLE_ROUNDS = 300, 2
#: How much of what waits comes about where time passes in a storm.
SHARE = 0.4
WITH_DEADLINE = 0.3
LAST_EVENTS = 80


class Interleaving:
    """The processes, the job, and the order in which they act."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.seed = seed
        self.course = Course(seed)
        self.plan = random_plan(self.course.dice)
        self.wire = Wire(self.course)
        self.referee = Referee(settings, JOB)
        self.operators = [Operator(name, settings, self.course, self.wire) for name in ("ann", "bob")]
        self._state = self.operators[0].state
        self.clock = Clock(self.course, self._state, JOB)
        self.workers = [
            Worker(name, settings, self.course, wire=self.wire, clock=self.clock, referee=self.referee)
            for name in ("one", "two")
        ]
        self.reconciler = Reconciler(self.workers[0], self.wire, self.clock)

    def play(self) -> None:
        """Run the job to its end.

        Raises:
            Foul: a rule was broken. A note beside it says how to play the same again, and what happened last.
        """
        try:
            self._submit()
            for _ in range(self.course.dice.randint(*TURNS)):
                self.turn()
            self._calm()
            self._look_at_end()
        except Exception as error:
            error.add_note(self._report())
            raise

    def turn(self) -> None:
        """Let one thing happen, of those that can."""
        turns: list[tuple[int, Any, Callable[[], Any]]] = [
            (42, self.wire.under_way, self._deliver),
            (34, self._busy(), self._end_run),
            (10, True, lambda: self.course.dice.choice(self.operators).steer()),
            (8, True, self.reconciler.repair),
            (4, True, lambda: self.clock.ring("timers", "leases", "outbox", share=SHARE)),
            (3, self.wire.under_way, self.wire.lose),
            (1, self.wire.under_way, self._expire),
        ]
        weights, acts = zip(*((weight, act) for weight, can_be, act in turns if can_be), strict=True)
        self.course.dice.choices(acts, weights)[0]()

    def _submit(self) -> None:
        plan = self.plan
        has_checks = plan.steps[0].phase == PHASE_CHECK
        fields = {"kind": "random", "total": plan.size, "params": "{}", "params_hash": "hash"}
        if not has_checks:
            fields["receipt"] = "hash"
        deadline_ms = LATER_S * 1000 + self._state.now_ms() if self.course.chance(WITH_DEADLINE) else None
        state = State.RECEIVED if has_checks else State.PROCESSING
        self.operators[0].state.submit(JOB, state, fields, plan=plan, deadline_ms=deadline_ms)
        self.course.let(self.turn)
        self.operators[0].outbox.send_first(JOB, plan)

    def _busy(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.running]

    def _deliver(self) -> None:
        self.course.dice.choice(self.workers).begin(self.wire.take())

    def _expire(self) -> None:
        self.course.dice.choice(self.workers).let_expire(self.wire.lose())

    def _end_run(self) -> None:
        self.course.dice.choice(self._busy()).end()

    def _calm(self) -> None:
        """Nothing goes wrong any more: the job goes on until it has succeeded."""
        self.course.is_calm = True
        self.course.say("----", "calm")
        idle = 0
        for _ in range(ROUNDS):
            if self._state.state(JOB) == State.SUCCEEDED:
                return
            idle = 0 if self._round() or self._found_lost() else idle + 1
            if idle > IDLE_ROUNDS:
                raise Foul("hung: nothing is under way, nothing runs, nothing is due, nothing is lost")
        raise Foul(f"no end after {ROUNDS} rounds")

    def _round(self) -> bool:
        if self._state.state(JOB) in (State.PAUSED, State.FAILED, State.CANCELLED):
            self.operators[0].go_on()
        self.clock.ring("timers", "outbox")
        self.reconciler.repair()
        return self._drain()

    def _found_lost(self) -> bool:
        found = self.reconciler.find_lost()
        if unsent := set(found) - self.wire.lost:
            raise Foul(f"missing without having been lost, so never sent, or dropped: {sorted(unsent)}")
        return bool(found)

    def _drain(self) -> bool:
        """Deliver all messages and end all runs; returns whether there were any."""
        has_moved = False
        while self.wire.under_way or self._busy():
            (self._deliver if self.wire.under_way else self._end_run)()
            has_moved = True
        return has_moved

    def _look_at_end(self) -> None:
        everyone = [*self.workers, *self.operators]
        self.referee.sees_end(process.state for process in everyone)
        begun = [run for worker in self.workers for run in worker.running]
        while self.wire.under_way:
            self._deliver()
        if [run for worker in self.workers for run in worker.running] != begun:
            raise Foul("a step began after the job had succeeded")
        self._drain()
        self.clock.ring("timers", "leases", "outbox")
        self.reconciler.repair()
        self.referee.sees_nothing_left(self.clock.left())

    def _report(self) -> str:
        lines = [
            f"the same again: FAULT_SEED={self.seed} ./run test tests/faults/test_interleavings.py",
            *self.referee.picture(),
            *self.course.history[-LAST_EVENTS:],
        ]
        return "\n".join(lines)
