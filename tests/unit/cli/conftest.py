"""A façade in memory, and the program run against it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Signature, chain, chord
from click.testing import CliRunner, Result
from pydantic import BaseModel, ConfigDict, Field

from coordinator import errors
from coordinator.cli import connection
from coordinator.cli.program import main
from coordinator.compiler import compile_canvas
from coordinator.forecast import forecast
from coordinator.serving import Served, Serving
from coordinator.states import Event, Flag, JobStatus, Receipt, State, StepState, StepStatus

JOB = "orders-abc123def456"


class Orders(BaseModel):
    """What the kind ``orders`` takes."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(description="File to read.")
    share: float = Field(0.1, ge=0, le=1, description="Acceptable share of invalid rows.")
    rules: dict[str, Any] | str = Field({}, description="Rules, inline or a file.")


@dataclass
class FakeCoordinator:
    """Answers like the façade, from lists that a test fills, and keeps the calls."""

    found: list[JobStatus] = field(default_factory=list)
    receipt: Receipt = field(default_factory=lambda: Receipt(JOB, "accepted"))
    value: Any = None
    fault: Exception | None = None
    calls: list[tuple[str, Any]] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)
    checks: list[Any] = field(default_factory=list)
    looks: list[list[Event] | Exception] = field(default_factory=list)  # what each look at the feed gives
    ran: list[StepStatus] = field(default_factory=list)
    broker_fault: str = ""

    def kinds(self) -> list[str]:
        return ["orders"]

    def kind(self, name: str) -> Any:
        if name != "orders":
            raise errors.UnknownKind(f"no kind {name!r}; did you mean 'orders'?")
        return SimpleNamespace(name="orders", params=Orders, version="1", doc="Clean the orders.\n\nMore.")

    def resolve(self, prefix: str) -> str:
        self._raise()
        ids = [job.id for job in self.found if job.id.startswith(prefix)]
        if len(ids) == 1:
            return ids[0]
        raise (
            errors.AmbiguousId(f"{prefix!r} begins {len(ids)} ids")
            if ids
            else errors.JobNotFound("no such job")
        )

    def jobs(self, state: str | None = None, kind: str | None = None, limit: int = 100) -> list[JobStatus]:
        self._raise()
        return [j for j in self.found if state in (None, j.state) and kind in (None, j.kind)][:limit]

    def status(self, job_id: str) -> JobStatus:
        return next(job for job in self.found if job.id == job_id)

    def steps(self, job_id: str, *, limit: int | None = None) -> list[StepStatus]:
        return self.ran[:limit]

    def events(self, job_id: str, after: str = "0") -> list[Event]:
        return [event for event in self.told if event.id > after]

    def feed(self, *, past: bool = False) -> FakeCoordinator:
        self.calls.append(("feed", past))
        return self

    def new(self, kind: str | None = None) -> list[Event]:
        if not self.looks:
            raise KeyboardInterrupt
        look = self.looks.pop(0)
        if isinstance(look, Exception):
            raise look
        return look

    def alerts(self, limit: int = 100) -> list[dict[str, Any]]:
        return []

    def findings(self) -> list[Any]:
        return self.checks

    def submit(self, kind: str, params: dict[str, Any], **options: Any) -> Receipt:
        self.calls.append(("submit", {"kind": kind, "params": params, **options}))
        self._raise()
        return self.receipt

    def plan(self, kind: str, params: dict[str, Any], **_: Any) -> Any:
        parts = [Signature("orders.clean", args=(number,)) for number in range(2000)]
        return compile_canvas(chain(Signature("orders.survey"), chord(parts, Signature("orders.publish"))))

    def plan_of(self, job_id: str) -> Any:
        return self.plan("orders", {}), {}

    def queue_of(self, step: Any) -> str:
        return "slow" if step.task == "orders.clean" else "batuta"

    def forecast(self, plan: Any, fragments: Any = None) -> Any:
        return forecast(plan, self.queue_of, fragments)

    def serving(self, expected: Any) -> Serving:
        workers = None if self.broker_fault else ("w1@a",)
        served = (
            Served(
                q.name, q.messages, tuple(q.more), workers if q.name == "batuta" else workers and (), (), ""
            )
            for q in expected.queues
        )
        return Serving(tuple(served), self.broker_fault)

    def result(self, job_id: str) -> Any:
        self._raise()
        return self.value

    def wait(self, job_id: str, timeout_s: float | None = None) -> Any:
        self.calls.append(("wait", timeout_s))
        return self.result(job_id)

    def cancel(self, job_id: str, reason: str = "") -> JobStatus:
        return self._change("cancel", job_id, State.CANCELLED)

    def pause(self, job_id: str) -> JobStatus:
        return self._change("pause", job_id, State.PAUSED)

    def resume(self, job_id: str) -> JobStatus:
        return self._change("resume", job_id, State.PROCESSING)

    def retry(self, job_id: str, from_step: str | None = None) -> JobStatus:
        return self._change("retry", job_id, State.PROCESSING)

    def _change(self, verb: str, job_id: str, state: State) -> JobStatus:
        if self.status(job_id).state is State.SUCCEEDED:
            raise errors.IllegalTransition(f"job {job_id} is succeeded")
        self.calls.append((verb, job_id))
        return replace(self.status(job_id), state=state)

    def _raise(self) -> None:
        if self.fault:
            raise self.fault


def make_job(state: State = State.PROCESSING, name: str = JOB, **more: Any) -> JobStatus:
    """Return a job that a fake façade can hold."""
    values: dict[str, Any] = {"created_ms": 1_700_000_000_000, "steps_done": 3, "steps_total": 10}
    return JobStatus(id=name, kind="orders", state=state, **values | more)


def make_step(key: str = "1/0", state: StepState = StepState.FAILED, **more: Any) -> StepStatus:
    """Return a step that a fake façade can hold."""
    return StepStatus(id=f"{JOB}:{key}", key=key, task="orders.clean", state=state, **more)


def make_flag(*, valid: bool, reason: str = "") -> Flag:
    """Return a verdict of one check."""
    return Flag(check="orders.readable", valid=valid, reason=reason)


def raising(error: BaseException) -> Callable[..., Any]:
    """Return what a fake façade's method can be, when it is to end so."""

    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


@pytest.fixture
def facade(monkeypatch: pytest.MonkeyPatch) -> FakeCoordinator:
    """The fake façade that every command of the test gets."""
    fake = FakeCoordinator()
    opened = connection.Opened(fake, "redis://fake")  # type: ignore[arg-type]
    monkeypatch.setattr(connection, "open_coordinator", lambda **_: opened)
    monkeypatch.setattr(connection, "loaded_registry", lambda: fake)
    monkeypatch.setattr(connection, "running_coordinator", lambda: fake)
    return fake


@pytest.fixture
def call(facade: FakeCoordinator) -> Callable[..., Result]:
    """Run the program with these words."""

    def run(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, list(words), input=stdin, prog_name="manage.py")

    return run
