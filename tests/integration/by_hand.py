"""Drive a job by hand, as all its workers together: in orders that workers seldom come to."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from kombu.utils.json import dumps

from coordinator.batch import beginning
from coordinator.compiler import compile_canvas
from coordinator.outbox import Outbox
from coordinator.plan import PHASE_CHECK, PHASE_WORK, PlannedStep, prefix_of
from coordinator.settings import Settings
from coordinator.sources import Opened
from coordinator.state import StateManager
from coordinator.states import State
from coordinator.stream import Stream

JOB = "by-hand"
#: What the lease tokens of this life of the worker "w" start with.
WORKER = "w~1#"


class Wire:
    """Keeps the steps that are sent, instead of a broker. An outbox takes it for its dispatcher."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, _job: str, steps: Sequence[PlannedStep], *_: Any, **__: Any) -> None:
        self.sent += [step.key for step in steps]


class Hand:
    """Plays all workers of one job."""

    def __init__(self, settings: Settings, canvas: Any, phase: str = PHASE_WORK) -> None:
        self.state = StateManager(settings)
        self.another = StateManager(settings)  # that of a process which takes no part
        plan = compile_canvas(canvas, phase=phase)
        fields = {"kind": "any", "receipt": "r", "total": plan.size, "params": "{}"}
        state = State.RECEIVED if phase == PHASE_CHECK else State.PROCESSING
        self.state.submit(JOB, state, fields, plan=plan)
        self.wire = Wire()

    def outbox_of(self, state: StateManager) -> Outbox:
        """Return the outbox of a process; what it sends is kept in ``wire``."""
        return Outbox(state, self.wire)  # type: ignore[arg-type]

    @property
    def noted(self) -> set[str]:
        """The triggers that are in the outbox."""
        members = self.state.client.zrange(self.state.keys.named(JOB, "outbox")[0], 0, -1)
        return {member.decode().partition("|")[2] for member in members}

    def step(self, key: str) -> PlannedStep:
        self.state.look_at_epoch(JOB)
        return self.state.plan(JOB, prefix_of(key)).by_key[key]

    def begin(self, key: str) -> Any:
        """Begin a step; returns the attempt's number, or why it does not run."""
        answer = self.state.begin(JOB, self.step(key), f"{WORKER}{secrets.token_hex(4)}")
        return answer[1] if answer[0] == "run" else answer[0]

    def end(self, key: str, attempt: int, turn: str = "") -> str:
        return self.answer(key, attempt, turn)[0]

    def answer(self, key: str, attempt: int, turn: str = "") -> list[str]:
        """End an attempt; returns what came of it, then the triggers of what follows."""
        record = dumps([key, attempt, 1, 1, "w"])
        return self.state.finish(JOB, key, attempt, record, self.step(key).follow, turn)

    def fail(self, key: str, attempt: int) -> str:
        error = {"step": key, "task": "any", "type": "ValueError", "message": "no", "traceback": ""}
        return self.state.fail(JOB, key, error, attempt=attempt)

    def run(self, *keys: str) -> None:
        for key in keys:
            assert self.end(key, self.begin(key)) == "recorded"

    def break_at(self, key: str) -> str:
        return self.fail(key, self.begin(key))

    def expand(self, key: str, canvas: Any) -> None:
        step = self.step(key)
        end = (("up", key), *step.follow)
        plan = compile_canvas(canvas, prefix=f"{key}/", end=end, errbacks=step.errbacks)
        assert self.state.expand(JOB, key, self.begin(key), plan) == "expanded"

    @property
    def frontier(self) -> list[str]:
        plan, fragments = self.state.plan(JOB), self.state.fragments(JOB)
        return [step.key for step in plan.frontier(self.state.recorded(JOB), fragments)]

    @property
    def progress(self) -> tuple[int, int]:
        status = self.state.status(JOB)
        return status.steps_done, status.steps_total


def let_happen_before(state: StateManager, call: str, happen: Callable[[], Any]) -> None:
    """Let something happen elsewhere just before a process' next ``call``: it has read what it goes by."""
    real = getattr(state, call)

    def called(*args: Any, **kwargs: Any) -> Any:
        setattr(state, call, real)
        happen()
        return real(*args, **kwargs)

    setattr(state, call, called)


def open_stream(job: Hand, key: str, items: int | None, **limits: Any) -> None:
    """Put an ``each`` in a step's place, of so many items, or over pages that are still to be read."""
    given = {"pages": {"task": "any"}} if items is None else {"range": [0, items]}
    source, attempt = Opened(given), job.begin(key)
    each = {"step": {"task": "any"}, "source": source.source, "allow_failed": 0, "batch": 1, **limits}
    fields = beginning(each, source, attempt)
    assert job.state.open_stream(JOB, key, attempt, Stream.under(job.step(key), each), fields)[0] == "opened"
