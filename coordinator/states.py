"""What a job is: its states, the transitions that are legal, and its records.

Pure: values only, no I/O. The Lua scripts in ``state/lua`` enforce the same
transitions; ``tests/unit/test_states.py`` keeps the two in step.

    received ──► rejected
       │
       ▼        pause, resume
    processing ◄────────────► paused
       │                         │
       ├──► succeeded ◄──────────┤
       └──► failed, cancelled ◄──┘  a received job too; retry: to processing or received
"""

from __future__ import annotations

import enum
import secrets
from dataclasses import asdict, dataclass, field
from typing import Any

ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


class State(enum.StrEnum):
    """Where a job stands."""

    RECEIVED = "received"
    REJECTED = "rejected"
    PROCESSING = "processing"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({State.REJECTED, State.SUCCEEDED, State.FAILED, State.CANCELLED})

TRANSITIONS: dict[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.REJECTED, State.PROCESSING, State.FAILED, State.CANCELLED}),
    State.PROCESSING: frozenset({State.PAUSED, State.SUCCEEDED, State.FAILED, State.CANCELLED}),
    # What ran when the job was paused is finished; it may have been the last step.
    State.PAUSED: frozenset({State.PROCESSING, State.SUCCEEDED, State.FAILED, State.CANCELLED}),
    # Back to its checks where they had not decided.
    State.FAILED: frozenset({State.PROCESSING, State.RECEIVED}),
    State.CANCELLED: frozenset({State.PROCESSING, State.RECEIVED}),
    State.REJECTED: frozenset(),
    State.SUCCEEDED: frozenset(),
}


class StepState(enum.StrEnum):
    """Where a step stands."""

    WAITING = "waiting"  # what it waits on is not recorded yet
    READY = "ready"  # in the frontier: sent, or about to be sent
    RUNNING = "running"  # leased
    RETRYING = "retrying"  # a timer in Redis will send it again
    EXPANDED = "expanded"  # it put a canvas in its place, which runs
    SUCCEEDED = "succeeded"  # its result is recorded: only `retry --from` runs it again
    FAILED = "failed"  # it failed for good: `retry` runs it again
    LOST = "lost"  # another lane of its race has won, or its own lane failed


@dataclass(frozen=True, slots=True)
class Flag:
    """One verdict of one check on one job."""

    check: str
    valid: bool
    reason: str = ""
    at_ms: int = 0  # Redis time, milliseconds since the epoch
    params_hash: str = ""  # first 16 hex digits of the sha256 of the canonical parameters
    version: str = ""  # version of the kind that judged


@dataclass(frozen=True, slots=True)
class Validation:
    """What a job's checks have said so far."""

    verdict: str  # valid | invalid | pending
    flags: tuple[Flag, ...] = ()

    @property
    def errors(self) -> tuple[str, ...]:
        return tuple(f"{flag.check}: {flag.reason}" for flag in self.flags if not flag.valid)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a submit."""

    id: str
    status: str  # accepted | rejected | duplicate
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StepStatus:
    """One step of a job, as ``steps`` shows it."""

    id: str  # the Celery task id
    key: str  # the step's key within its job, for example "3" or "3/17"
    task: str  # the Celery task's name
    state: StepState
    attempts: int = 0
    worker: str = ""  # node name of the worker that ran it last
    started_ms: int | None = None
    runtime_ms: int | None = None
    due_ms: int | None = None  # when a waiting retry is due
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One job, as ``status`` shows it."""

    id: str
    kind: str
    state: State
    version: str = ""
    created_ms: int = 0
    started_ms: int | None = None
    finished_ms: int | None = None
    steps_done: int = 0  # at most ``steps_total``, and the same once the job has succeeded
    steps_total: int = 0  # grows when a step expands, shrinks when steps are lost
    steps_lost: int = 0  # of lanes whose race another lane has won, or which failed; not in ``steps_total``
    flags: tuple[Flag, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None  # {"step", "task", "type", "message", "traceback"}
    reason: str = ""  # of a rejection or a cancel

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a job."""

    id: str  # the Redis stream id, for "after"
    at_ms: int
    job: str
    event: str  # submitted, flag, rejected, processing, retry, failed, redriven, fenced …
    step: str = ""  # its key; of a redrive also what was sent again: "*" for all that was ready
    detail: str = ""
    is_due: bool = False  # of a redrive: the step's own timer or lease was over


def new_job_id(kind: str) -> str:
    """Return ``<kind>-<12 random characters>``: 60 bits, no look-alike letters."""
    return f"{kind}-" + "".join(secrets.choice(ID_ALPHABET) for _ in range(12))
