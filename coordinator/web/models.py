"""What requests and answers look like: pydantic models, from which the schema is made.

The records of ``coordinator.states`` (a job, a step, a flag, an event) are
answered as they are.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from coordinator.states import Event, Flag, JobStatus, State, StepState, StepStatus

MOST_JOBS = 1000
MOST_STEPS = 10_000
LONGEST_WAIT_S = 30.0
LONGEST_DEADLINE_S = 30 * 86400

_Cursor = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_-]*$", max_length=250, description="`next` of the page before")
]


class JobRequest(BaseModel):
    """A request for a job."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: str = Field("process_data", description="a registered kind: see /kinds", max_length=200)
    params: dict[str, Any] = Field(default_factory=dict, description="the kind's parameters")
    id: str | None = Field(
        None, max_length=1000, description="the idempotency key, as the header Idempotency-Key gives it"
    )
    queue: str | None = Field(None, max_length=200, description="one of COORDINATOR_API_QUEUES")
    priority: int | None = Field(None, ge=0, le=9, description="9 first")
    deadline_s: float | None = Field(
        None, gt=0, le=LONGEST_DEADLINE_S, description="seconds from now after which the job fails"
    )


class CancelRequest(BaseModel):
    """Why a job is cancelled."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: str = Field("", max_length=1000, description="kept with the job")


class RetryRequest(BaseModel):
    """From where a job is run again."""

    model_config = ConfigDict(extra="forbid", strict=True)

    from_step: str | None = Field(
        None, max_length=1000, description="this step and all that follows run again, recorded or not"
    )


class JobsQuery(BaseModel, extra="forbid"):
    """Which jobs to list."""

    state: State | None = None
    kind: str | None = Field(None, max_length=200)
    limit: int = Field(100, ge=1, le=MOST_JOBS)
    prefix: str = Field("", max_length=128, description="only jobs whose id starts so")
    cursor: _Cursor = ""
    internal: bool = Field(False, description="also the jobs that Batuta itself runs")


class StepsQuery(BaseModel, extra="forbid"):
    """Which steps to list."""

    state: StepState | None = None
    limit: int = Field(1000, ge=1, le=MOST_STEPS)
    cursor: int = Field(0, ge=0, le=2**53, description="`next` of the page before")


class EventsQuery(BaseModel, extra="forbid"):
    """Which events to list."""

    after: str = Field("0", pattern=r"^[0-9]{1,19}(-[0-9]{1,19})?$", description="the `id` of an event")


class ResultQuery(BaseModel, extra="forbid"):
    """How long to wait for the end."""

    wait_s: float = Field(0, ge=0, le=LONGEST_WAIT_S)


class AlertsQuery(BaseModel, extra="forbid"):
    """Which alerts to list."""

    limit: int = Field(100, ge=1, le=MOST_JOBS)
    since_ms: int = Field(0, ge=0, le=2**53, description="only alerts of that time or later")


class Accepted(BaseModel):
    """The answer to a submit."""

    id: str
    status: Literal["accepted", "duplicate"]


class JobPage(BaseModel):
    """Jobs, newest first, without flags and parameters."""

    jobs: list[JobStatus]
    next: str | None = Field(description="the cursor of the next page; null on the last")


class StepPage(BaseModel):
    """Steps in the order of the plan."""

    steps: list[StepStatus]
    next: int | None


class Events(BaseModel):
    """A job's events, oldest first."""

    events: list[Event]


class Flags(BaseModel):
    """The verdicts of a job's checks."""

    verdict: Literal["valid", "invalid", "pending"]
    flags: list[Flag]


class Result(BaseModel):
    """The value of a job that succeeded."""

    id: str
    result: Any


class Alert(BaseModel):
    """Something that people must know."""

    model_config = ConfigDict(extra="allow")

    id: str
    at_ms: int
    job: str
    alert: str
    severity: str
    message: str


class Alerts(BaseModel):
    """Alerts, newest first."""

    alerts: list[Alert]


class KindOfJob(BaseModel):
    """A sort of job, with the JSON schema of its parameters."""

    name: str
    version: str
    doc: str
    params: dict[str, Any]


class Kinds(BaseModel):
    """The kinds that can be submitted."""

    kinds: list[KindOfJob]


class Health(BaseModel):
    """That the process answers."""

    status: Literal["ok"]


class Readiness(BaseModel):
    """Whether Redis answers, without which nothing works, and the broker, without which jobs wait."""

    status: Literal["ready", "unready"]
    redis: str
    broker: str
