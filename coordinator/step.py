"""``Step``, the base of every task, and its half in the worker's parent process.

Owns what Celery calls. Invariant: a task that belongs to no job behaves as
Celery's own ``Task``; one that runs as a step of a job is an ``Attempt``.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionWithTraceback
from celery import Task
from celery.exceptions import MaxRetriesExceededError, NotRegistered, Retry, WorkerLostError
from celery.utils.log import get_task_logger
from celery.utils.time import maybe_iso8601, maybe_make_aware
from celery.worker import state as worker_state
from celery.worker.request import Request

from coordinator.attempt import Attempt, Replaced, owner_of
from coordinator.counted import counted
from coordinator.dispatcher import HEADER
from coordinator.errors import BatutaError, StateUnreachable
from coordinator.state import parse_step_id

if TYPE_CHECKING:
    from coordinator.parts import Parts

#: How often ``self.cancelled`` asks Redis.
CANCELLED_ASKED_S = 0.5
#: How long a map or a batch waits whose task its worker has not registered.
UNKNOWN_AGAIN_S = 5.0

logger = get_task_logger(__name__)


class StepRequest(Request):
    """The worker's parent's half: gives the lease of a lost child back before the message is requeued.

    A lease is known as a worker's, so what becomes of an attempt that was forgotten must not touch one at
    the same step that the worker has begun since.
    """

    def on_timeout(self, soft: bool, timeout: float) -> None:
        self._is_superseded()
        super().on_timeout(soft, timeout)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        exc = exc_info.exception
        exc = exc.exc if isinstance(exc, ExceptionWithTraceback) else exc
        step = parse_step_id(self.id)
        is_lost = isinstance(exc, WorkerLostError | SystemExit | KeyboardInterrupt)
        if not self._is_superseded() and step and is_lost:
            try:
                self.app.parts.state.release(*step, "lost", owner_of(self.hostname))
            except StateUnreachable as error:  # then the lease runs out by itself
                logger.warning("lease-not-released", extra={"step": self.id, "error": str(error)})
        super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def _is_superseded(self) -> bool:
        """Whether this worker has begun the same step again since: the backend hears no more of this one."""
        others = [other for other in list(worker_state.active_requests) if other.id == self.id]
        is_superseded = any((other.time_start or 0) > (self.time_start or 0) for other in others)
        if is_superseded:
            self._context.is_told = True
        return is_superseded


class Durable(Task):
    """``retry`` and ``replace`` of steps, behind a project's own class, whose overrides call them."""

    abstract = True

    def retry(
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: Any = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Any:
        """As Celery's, but the waiting is a timer in Redis: no message sits in a worker's memory."""
        request = self.request
        if _header(request) is None or request.called_directly:
            return super().retry(args, kwargs, exc, throw, eta, countdown, max_retries, **options)
        _refuse_other_than(request, args, kwargs, options)
        limit = self.max_retries if max_retries is None else max_retries
        if limit is not None and request.retries + 1 > limit:
            if exc is not None:
                raise exc
            raise MaxRetriesExceededError(
                f"{request.id} was retried {counted(limit, 'time')}, which is the limit"
            )
        if eta is not None:
            due = maybe_make_aware(maybe_iso8601(eta), self.app.timezone)
            countdown = max(0.0, (due - self.app.now()).total_seconds())
        again = Retry(exc=exc, when=self.default_retry_delay if countdown is None else countdown)
        if throw:
            raise again
        return again

    def replace(self, sig: Any) -> Any:
        """As Celery's, but durable: the job's plan grows under this step."""
        if _header(self.request) is None or self.request.called_directly:
            return super().replace(sig)
        raise Replaced(sig)


class Step(Durable):
    """A Celery task that is durable when it runs as a step of a job.

    In the body of a bound task: ``self.job_id``, ``self.fence`` (number of this attempt, to be carried by
    writes elsewhere), ``self.idempotency_key`` (the same for every attempt) and ``self.cancelled``.
    """

    abstract = True
    Request = "coordinator.step:StepRequest"
    Strategy = "coordinator.strategy:checked"
    acks_late = True  # a killed worker must redeliver
    reject_on_worker_lost = True
    acks_on_failure_or_timeout = True
    store_errors_even_if_ignored = True

    @property
    def job_id(self) -> str | None:
        """The job that this step belongs to, or None."""
        header = _header(self.request)
        return header["job"] if header else None

    @property
    def fence(self) -> int:
        """The number of this attempt: larger than that of every attempt before."""
        return getattr(self.request, "fence", 0)

    @property
    def idempotency_key(self) -> str:
        """The step's id: the same for every attempt at it."""
        return str(self.request.id)

    @property
    def cancelled(self) -> bool:
        """Whether the job has ended or the step has lost its race; asks Redis at most twice a second.

        What a step returns after it has seen that is not recorded: where its job is retried it runs again.
        """
        header = _header(self.request)
        if header is None:
            return False
        asked_at, answer = getattr(self.request, "cancelled_asked", (0.0, False))
        if not answer and time.monotonic() - asked_at > CANCELLED_ASKED_S:
            state = self.parts.state
            with contextlib.suppress(StateUnreachable):  # not known now: no reason for the step to fail
                answer = state.state(header["job"]).is_terminal or state.is_lost(header["job"], header["key"])
            self.request.cancelled_asked = (time.monotonic(), answer)
        return bool(answer)

    @property
    def parts(self) -> Parts:
        return self.app.parts  # type: ignore[no-any-return]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        header = _header(self.request)
        if header is None or self.request.called_directly:
            return super().__call__(*args, **kwargs)
        return Attempt(self, header).execute(args, kwargs)

    def body(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task's code; a map or batch of a task that this worker lacks waits for one that has it."""
        try:
            return self.run(*args, **kwargs)
        except NotRegistered as error:
            raise Retry(exc=error, when=UNKNOWN_AGAIN_S) from error

    def record(self, attempt: Attempt, value: Any) -> list[str]:
        """Record the value of an attempt that succeeded; the gate does it its own way."""
        return attempt.finish(value)


def _refuse_other_than(request: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> None:
    """Refuse a retry with other arguments or options than the step has: its message is made from the plan."""
    other = [
        name
        for name, value, own in (("args", args, request.args), ("kwargs", kwargs, request.kwargs))
        if value is not None and (list(value) != list(own) if name == "args" else dict(value) != dict(own))
    ]
    if found := [*other, *options]:
        raise BatutaError(
            "a durable step is retried with the arguments and options it had, but retry() got "
            f"{', '.join(found)}; take that off, or go on with another signature: "
            "return self.replace(self.s(…).set(…))"
        )


def _header(request: Any) -> dict[str, Any] | None:
    return getattr(request, HEADER, None)
