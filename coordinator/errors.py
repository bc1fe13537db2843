"""Every error that Batuta raises on purpose.

Each message says what was expected, what was found and what to do. All share
one base class, carry their parts as attributes and survive pickling, so they
cross process borders unchanged. ``error_document`` is how any error is kept.
"""

from __future__ import annotations

import traceback
from typing import Any


class BatutaError(Exception):
    """Something went wrong in Batuta."""

    def __init__(self, message: str = "", **facts: Any) -> None:
        super().__init__(message or (self.__doc__ or "").strip())
        self.facts = facts

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), str(self), self.facts))


class SettingsError(BatutaError):
    """The environment holds a value that Batuta can't use."""


class InvalidRequest(BatutaError):
    """The request is not a JSON object that names a job."""


class UnknownKind(InvalidRequest):
    """No kind of that name is registered."""


class InvalidParams(InvalidRequest):
    """The parameters don't fit the kind's model."""


class KeyTaken(InvalidRequest):
    """The key belongs to a job of another kind."""


class UnsupportedCanvas(InvalidRequest):
    """The canvas holds something that a plan can't express."""


class BuilderFailed(BatutaError):
    """The kind's builder raised an error."""


class JobNotFound(BatutaError):
    """No job has that id."""


class AmbiguousId(JobNotFound):
    """More than one job id starts so."""


class IllegalTransition(BatutaError):
    """The job's present state doesn't allow that."""


class JobRejected(BatutaError):
    """A check refused the job."""


class JobFailed(BatutaError):
    """A step of the job failed for good."""


class JobCancelled(BatutaError):
    """The job was cancelled."""


class WaitTimeout(BatutaError):
    """The job did not finish within the time given."""


class NotMeasured(WaitTimeout):
    """A job that was to be measured did not finish within the time given."""


class Unreachable(BatutaError):
    """The broker or Redis could not be reached."""


class BrokerUnreachable(Unreachable):
    """The message broker could not be reached."""


class StateUnreachable(Unreachable):
    """Redis could not be reached."""


class StepTooLarge(BatutaError):
    """A step's arguments or result are over the size limit."""


class OutOfMemory(BatutaError):
    """A step used up the memory of its process: raised for Python's MemoryError."""


class TooManyFailed(BatutaError):
    """More items of an each failed than its share allows."""


def _rebuild(cls: type[BatutaError], message: str, facts: dict[str, Any]) -> BatutaError:
    return cls(message, **facts)


def error_document(task: str, task_id: str, error: BaseException, message: str = "") -> dict[str, Any]:
    """Return an error as JSON: step, task, type, message, traceback."""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return {
        "step": task_id,
        "task": task,
        "type": type(error).__name__,
        "message": message or str(error) or type(error).__name__,
        "traceback": "".join(lines)[-8000:],
    }
