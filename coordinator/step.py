"""``Step``, the base of every task: begin → run → finish → send → ack.

Owns one execution of a step on a worker. Invariant: record, then send, then
ack; whatever is killed in between is repaired by the redelivery or by the
reconciler. A task that belongs to no job behaves as Celery's own ``Task``.
What each verdict of *begin* and *finish* means stands in ``state/lua``.
"""

from __future__ import annotations


import secrets
import time
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

from billiard.einfo import ExceptionWithTraceback
from celery import Task
from celery.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry, WorkerLostError
from celery.utils.log import get_task_logger
from celery.utils.time import timezone
from celery.worker.request import Request
from kombu.utils.json import dumps

from coordinator import blobs
from coordinator.compiler import compile_canvas
from coordinator.dispatcher import HEADER
from coordinator.errors import BatutaError, InvalidParams, StateUnreachable
from coordinator.plan import PHASE_CHECK, Follow, PlannedStep, prefix_of
from coordinator.state import parse_step_id

if TYPE_CHECKING:
    from coordinator.parts import Parts

#: One life of a worker: forked children have it from their parent, so the parent knows their leases.
INSTANCE = secrets.token_hex(4)
#: How often ``self.cancelled`` asks Redis.
CANCELLED_ASKED_S = 0.5

logger = get_task_logger(__name__)


class StepRequest(Request):  # type: ignore[misc]
    """The worker's parent's half: gives the lease of a lost child back before the message is requeued."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        exc = exc_info.exception
        exc = exc.exc if isinstance(exc, ExceptionWithTraceback) else exc
        step = parse_step_id(self.id)
        if step and isinstance(exc, WorkerLostError | SystemExit | KeyboardInterrupt):
            try:
                self.app.parts.state.release(*step, "lost", owner_of(self.hostname))
            except StateUnreachable as error:  # then the lease runs out by itself
                logger.warning("lease-not-released", extra={"step": self.id, "error": str(error)})
        super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)


class Step(Task):  # type: ignore[misc]
    """A Celery task that is durable when it runs as a step of a job.

    In the body of a bound task: ``self.job_id``, ``self.fence`` (number of this attempt, to be carried by
    writes elsewhere), ``self.idempotency_key`` (the same for every attempt) and ``self.cancelled``.
    """

    abstract = True
    Request = "coordinator.step:StepRequest"
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
        """Whether the job has been stopped; asks Redis at most twice a second."""
        header = _header(self.request)
        if header is None:
            return False
        asked_at, answer = getattr(self.request, "cancelled_asked", (0.0, False))
        if not answer and time.monotonic() - asked_at > CANCELLED_ASKED_S:
            answer = self.parts.state.state(header["job"]).is_terminal
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

    def retry(self, args: Any = None, kwargs: Any = None, exc: BaseException | None = None, throw: bool = True,
              eta: Any = None, countdown: float | None = None, max_retries: int | None = None,
              **options: Any) -> Any:  # fmt: skip
        """As Celery's, but the waiting is a timer in Redis: no message sits in a worker's memory."""
        request = self.request
        if _header(request) is None or request.called_directly:
            return super().retry(args, kwargs, exc, throw, eta, countdown, max_retries, **options)
        if args is not None or kwargs is not None:
            raise BatutaError("a durable step is retried with the arguments it had; call retry() without any")
        limit = self.max_retries if max_retries is None else max_retries
        if limit is not None and request.retries + 1 > limit:
            if exc is not None:
                raise exc
            raise MaxRetriesExceededError(f"{request.id} was retried {limit} times, which is the limit")
        if eta is not None:
            countdown = (
                max(0.0, (eta - timezone.now(eta.tzinfo)).total_seconds()) if hasattr(eta, "tzinfo") else 0
            )
        again = Retry(exc=exc, when=self.default_retry_delay if countdown is None else countdown)
        if throw:
            raise again
        return again

    def replace(self, sig: Any) -> Any:
        """As Celery's, but durable: the job's plan grows under this step."""
        if _header(self.request) is None or self.request.called_directly:
            return super().replace(sig)
        raise _Replaced(sig)

    def record(self, attempt: Attempt, value: Any) -> list[str]:
        """Record the value of an attempt that succeeded; the gate does it its own way."""
        return attempt.finish(value)


class _Replaced(Exception):
    """A step put a canvas in its place."""


class Attempt:
    """One execution of a step, from taking the lease to sending what follows."""

    def __init__(self, task: Step, header: dict[str, Any]) -> None:
        self.task = task
        self.state = task.parts.state
        self.outbox = task.parts.outbox
        self.job: str = header["job"]
        self.take: str = header["take"]
        follow: Follow = tuple(tuple(part) for part in header["follow"])
        self.step = PlannedStep(header["key"], task.name, follow=follow, phase=header["phase"])
        self.number = 0
        self.started_ms = 0
        self._started = 0.0

    def execute(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Begin, run, finish, send. Returns the value, or why the step did not run."""
        answer = self._begin()
        if answer[0] != "run":
            return self._not_run(answer)
        args = self._with_value(answer, args)
        try:
            value = self.task.run(*args, **kwargs)
        except Retry as again:
            self._defer(again)
            raise
        except _Replaced as replaced:
            return self._expand(replaced.args[0])
        except Reject as reject:
            self._reject(reject)
        except Ignore as ignore:
            self._fail(ignore, "a durable step must end with a value or an error; it raised Ignore")
            raise
        except Exception as error:
            if self.step.phase == PHASE_CHECK and isinstance(error, InvalidParams):
                value = [str(error)]
            else:
                self._fail(error)
                raise
        return self._finish(value)

    # -- begin --------------------------------------------------------------

    def _begin(self) -> list[Any]:
        request = self.task.request
        token = owner_of(request.hostname) + secrets.token_hex(4)
        source_is_join = self.take.rpartition("/")[2].startswith("j")
        needs_plan = source_is_join or (self.step.follow and self.step.follow[0][0] == "next")
        answer = self.state.begin(
            self.job,
            self.step,
            token,
            record_of="" if source_is_join else self.take,
            want_plan=bool(needs_plan) and not self.state.knows_plan(self.job),
        )
        self._started = time.monotonic()
        return answer

    def _with_value(self, answer: list[Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Put the value of what came before in front of the step's own arguments."""
        _, self.number, retries, self.started_ms, record, plan = answer
        request = self.task.request
        request.fence, request.retries = self.number, retries
        if plan is not None:
            self.state.remember_blob(self.job, plan)
        if self.take:
            if record is not None:
                value = self.state.value_of_record(self.job, self.take, record)
            else:
                prefix = prefix_of(self.take)
                value = self.state.value(self.job, self.state.plan(self.job, prefix).joins[self.take])
            args = (value, *args)
        request.args = args
        return args

    def _not_run(self, answer: list[Any]) -> Any:
        verdict = answer[0]
        if verdict == "recorded":
            self.outbox.send(self.job, answer[1:])
            return "already recorded"
        if verdict == "expanded":
            return "already expanded"
        if verdict == "exhausted":
            self.number = answer[1]
            error = BatutaError(
                f"the step ended its worker's process {answer[2]} times in a row; it is given up "
                "(COORDINATOR_MAX_ATTEMPTS)"
            )
            self._fail(error, alert="dead-letter")
            raise error
        if verdict == "stopped":
            self.task.send_event("task-revoked", terminated=False, signum=None, expired=False)
        logger.info("step-not-run", extra={"step": self.task.request.id, "verdict": verdict})
        raise Ignore(f"{verdict} {answer[1:]}")

    # -- finish and send ----------------------------------------------------

    def finish(self, value: Any) -> list[str]:
        return self.state.finish(
            self.job, self.step.key, self.number, self.record_of(value), self.step.follow
        )

    def record_of(self, value: Any) -> str:
        """Return the journal's record of a value, which lies apart where it is too large."""
        settings = self.task.parts.settings
        runtime_ms = round((time.monotonic() - self._started) * 1000)
        tail: list[Any] = [self.number, self.started_ms, runtime_ms, self.task.request.hostname]
        try:
            text = dumps(value)
        except (TypeError, ValueError) as error:
            raise BatutaError(f"the result of {self.task.name} must be a JSON value: {error}") from error
        if len(text) <= settings.result_limit_bytes:
            return f"[{text},{dumps(tail)[1:]}"
        url = blobs.store(settings, text, f"the result of {self.task.request.id}")
        return dumps([url, *tail, "apart"])

    def _finish(self, value: Any) -> Any:
        try:
            answer = self.task.record(self, value)
        except BatutaError as error:
            if isinstance(error, StateUnreachable):
                raise
            self._fail(error)
            raise
        if answer[0] in ("recorded", "already"):
            self.outbox.send(self.job, answer[1:])
            return value
        logger.warning("result-refused", extra={"step": self.task.request.id, "verdict": answer})
        raise Ignore(f"the result of attempt {self.number} was refused: {answer}")

    def _expand(self, canvas: Any) -> Any:
        key = self.step.key
        end: Follow = (("up", key), *self.step.follow)
        try:
            plan = compile_canvas(canvas, prefix=f"{key}/", end=end, phase=self.step.phase)
        except BatutaError as error:
            self._fail(error)
            raise
        verdict = self.state.expand(self.job, key, self.number, plan)
        if verdict == "fenced":
            raise Ignore(f"the canvas of attempt {self.number} was refused: it came late")
        self.outbox.send(self.job, [plan.root_trigger])
        return f"expanded into {len(plan.steps)} steps"

    # -- what else may come of it -------------------------------------------

    def _defer(self, again: Retry) -> None:
        delay_ms = max(0, round(float(again.when or 0) * 1000))
        message = (
            f"retry in {delay_ms / 1000:g} s: {again.exc!r}"
            if again.exc
            else f"retry in {delay_ms / 1000:g} s"
        )
        self.state.defer(self.job, self.step.key, self.number, delay_ms, message)

    def _reject(self, reject: Reject) -> NoReturn:
        if reject.requeue:
            self.state.release(self.job, self.step.key, "returned", owner_of(self.task.request.hostname))
        else:
            self._fail(reject, "the step rejected its message")
        raise reject

    def _fail(self, error: BaseException, message: str = "", alert: str = "failed") -> None:
        document = error_document(self.task.name, self.task.request.id, error, message)
        verdict = self.state.fail(self.job, self.step.key, document, attempt=self.number, alert=alert)
        if verdict == "failed":
            self.task.parts.notifier.log(f"job {self.job} failed: {document['message']}", job=self.job)


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


def owner_of(hostname: str) -> str:
    """Return what the lease tokens of this life of a worker start with."""
    return f"{hostname}~{INSTANCE}#"


def _header(request: Any) -> dict[str, Any] | None:
    return getattr(request, HEADER, None)
