"""``Attempt``: one execution of a step: begin → run → finish → send.

Owns what a worker does between a message's delivery and its ack. Invariant:
record, then send, then ack; whatever is killed in between is repaired by the
redelivery or by the reconciler. What each verdict of *begin* and *finish* means
stands in ``state/lua``.
"""

from __future__ import annotations

import functools
import secrets
import time
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from celery.exceptions import Ignore, Reject, Retry, TimeLimitExceeded
from celery.utils.log import get_task_logger
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from coordinator.canvas import EACH
from coordinator.compiler import compile_canvas
from coordinator.counted import counted
from coordinator.errors import (
    BatutaError,
    InvalidParams,
    JobNotFound,
    OutOfMemory,
    StateUnreachable,
    Unreachable,
    error_document,
)
from coordinator.limits import limits
from coordinator.plan import PHASE_CHECK, Follow, PlannedStep, prefix_of
from coordinator.record import record_of
from coordinator.state.plans import FIRST_EPOCH

if TYPE_CHECKING:
    from coordinator.step import Step

#: One life of a worker: forked children have it from their parent, so the parent knows their leases.
INSTANCE = secrets.token_hex(4)

#: How long an attempt waits for Redis to come back before it gives up what it did.
PATIENCE_S = 600.0
REQUEUE_PAUSE_S = 1.0

T = TypeVar("T")

logger = get_task_logger(__name__)


class Replaced(Ignore):
    """A step put a canvas in its place. An ``Ignore``, as in Celery: ``autoretry_for`` lets it pass."""


class Streamed(Ignore):
    """A step put a stream in its place; holds what opens it for the attempt."""

    def __init__(self, opens: Callable[[Attempt], list[str]]) -> None:
        super().__init__("a stream")
        self.opens = opens


class Attempt:
    """One execution of a step, from taking the lease to sending what follows."""

    def __init__(self, task: Step, header: dict[str, Any]) -> None:
        self.task = task
        self.request = task.request  # at hand in any thread: a time limit is told of from one of its own
        self.state = task.parts.state
        self.outbox = task.parts.outbox
        self.job: str = header["job"]
        self.take: str = header["take"]
        follow: Follow = tuple(tuple(part) for part in header["follow"])
        self.step = PlannedStep(
            header["key"],
            task.name,
            follow=follow,
            phase=header["phase"],
            errbacks=tuple(header.get("errbacks", ())),
        )
        self._retries_before: int = header.get("retries", 0)
        self._epoch: str = header.get("epoch", FIRST_EPOCH)
        self._token = owner_of(self.request.hostname) + secrets.token_hex(4)
        self.number = 0
        self.started_ms = 0
        self._started = 0.0

    def execute(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Begin, run, finish, send. Returns the value, or why the step did not run."""
        try:
            answer = self._begin()
            if answer[0] != "run":
                return self._not_run(answer)
            args = self._with_value(answer, args)
        except StateUnreachable as error:
            time.sleep(REQUEUE_PAUSE_S)  # the message comes back at once
            raise Reject(str(error), requeue=True) from error
        try:
            value = self._run(args, kwargs)
        except Retry as again:
            self._defer(again)
            raise
        except Replaced as replaced:
            return self._expand(replaced.args[0])
        except Streamed as streamed:
            return self._stream(streamed)
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
        source_is_join = self.take.rpartition("/")[2].startswith("j")
        needs_plan = source_is_join or (self.step.follow and self.step.follow[0][0] == "next")
        answer = self.state.begin(
            self.job,
            self.step,
            self._token,
            record_of="" if source_is_join else self.take,
            want_plan=bool(needs_plan) and not self.state.knows_plan(self.job),
        )
        self._started = time.monotonic()
        return answer

    def _with_value(self, answer: list[Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Put the value of what came before in front of the step's own arguments."""
        _, self.number, retries, self.started_ms, record, plan, epoch, share = answer
        self.state.notice_epoch(self.job, epoch)
        if epoch != self._epoch:  # the plan may hold another step in its place, or it is not its turn
            self._give_back("steps before it were made to run again since it was sent", f"={self.step.key}")
        request = self.request
        request.fence, request.retries, request.share = self.number, retries + self._retries_before, share
        if plan is not None:
            self.state.remember_blob(self.job, plan)
        if self.take:
            try:
                args = (self._value(record), *args)
            except JobNotFound:
                self._give_back("what came before is not recorded any more; it is run again first")
        request.args[:] = args  # in place: the hooks and signals that Celery calls afterwards hold this list
        return args

    def _value(self, record: str | None) -> Any:
        if record is not None:
            return self.state.value_of_record(self.job, self.take, record)
        plan = self.state.plan(self.job, prefix_of(self.take))
        return self.state.value(self.job, plan.joins.get(self.take, self.take))

    def _give_back(self, why: str, trigger: str = "") -> NoReturn:
        """Let go of a step that can't run now, and leave a trigger to be sent once it can."""
        self._release()
        if trigger:
            self.state.note_outbox(self.job, trigger)
        raise Ignore(why)

    def _release(self) -> None:
        # By its token: the worker may have begun the step again since it was forgotten.
        self._patiently(self.state.release, self.job, self.step.key, "returned", self._token)

    def _not_run(self, answer: list[Any]) -> Any:
        verdict = answer[0]
        if verdict in ("recorded", "expanded"):
            self._send(answer[1:], is_left=True)
            return f"already {verdict}"
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
        logger.info("step-not-run", extra={"step": self.request.id, "verdict": verdict})
        raise Ignore(f"{verdict} {answer[1:]}")

    # -- run ----------------------------------------------------------------

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the task's code.

        Raises:
            OutOfMemory: for a MemoryError, at which Celery would end the whole worker. What the code held
                is let go of, or there is no memory left to record the failure with.
        """
        try:
            with limits(self.task, self._on_hard_limit):
                self.task.before_start(self.request.id, args, kwargs)
                value = self.task.body(*args, **kwargs)
        except MemoryError as error:
            traceback.clear_frames(error.__traceback__)
            raise OutOfMemory(
                "the step used up the memory that its process may have (MemoryError)"
            ) from error
        if was_told_to_stop(self.request):  # delivered again, it is dropped, or run anew if its job goes on
            raise Reject("the step was told to stop, and may have done half of its work", requeue=True)
        return value

    # -- finish and send ----------------------------------------------------

    def finish(self, value: Any) -> list[str]:
        return self.state.finish(
            self.job, self.step.key, self.number, self.record_of(value), self.step.follow
        )

    def record_of(self, value: Any) -> str:
        """Return the journal's record of a value."""
        runtime_ms = round((time.monotonic() - self._started) * 1000)
        tail = [self.number, self.started_ms, runtime_ms, self.request.hostname]
        return record_of(self.task.parts.settings, value, tail, f"the result of {self.request.id}")

    def _finish(self, value: Any) -> Any:
        try:
            answer = self._patiently(self.task.record, self, value)
        except BatutaError as error:
            self._fail(error)
            raise
        if answer[0] in ("recorded", "already"):
            self.request.is_recorded = True
            self._send(answer[1:], is_left=answer[0] == "already")
            return value
        logger.warning("result-refused", extra={"step": self.request.id, "verdict": answer})
        raise Ignore(f"the result of attempt {self.number} was refused: {answer}")

    def _expand(self, canvas: Any) -> Any:
        key = self.step.key
        end: Follow = (("up", key), *self.step.follow)
        try:
            plan = compile_canvas(
                canvas,
                prefix=f"{key}/",
                end=end,
                phase=self.step.phase,
                errbacks=self.step.errbacks,
                defaults=self._patiently(self.state.plan, self.job, prefix_of(key)).defaults,
                is_list=self.step.task == EACH,
            )
        except BatutaError as error:
            self._fail(error)
            raise
        verdict = self._patiently(self.state.expand, self.job, key, self.number, plan)
        if verdict == "fenced":
            raise Ignore(f"the canvas of attempt {self.number} was refused: it came late")
        self._send([plan.root_trigger])
        return f"expanded into {counted(len(plan.steps), 'step')}"

    def _stream(self, streamed: Streamed) -> str:
        answer = self._patiently(streamed.opens, self)
        if answer[0] == "fenced":
            raise Ignore(f"the stream of attempt {self.number} was refused: it came late")
        self._send(answer[1:])
        return "expanded into batches"

    def _send(self, triggers: Sequence[str], *, is_left: bool = False) -> None:
        """Send what follows; what can't be sent now stays in the outbox, for the reconciler.

        Args:
            is_left: another attempt left it; it goes by the plan as it is now, for this one has not begun.
        """
        try:
            if not is_left:
                self.outbox.send(self.job, triggers, self._epoch)
            else:
                for trigger in triggers:
                    self.outbox.send_again(self.job, trigger)
        except (Unreachable, JobNotFound) as error:  # or its canvas was forgotten meanwhile
            logger.warning("left-in-outbox: %s: %s", self.request.id, error)

    def _patiently(self, write: Callable[..., T], *args: Any) -> T:
        """Write what came of the attempt, however long Redis is away, within reason: the work is done."""
        try:
            return write(*args)
        except StateUnreachable:
            return self._patience(write, *args)

    _patience = Retrying(
        retry=retry_if_exception_type(StateUnreachable),
        wait=wait_random_exponential(multiplier=0.2, max=3),
        stop=stop_after_delay(PATIENCE_S),
        reraise=True,
    )

    # -- what else may come of it -------------------------------------------

    def _defer(self, again: Retry) -> None:
        delay_ms = max(0, round(float(again.when or 0) * 1000))
        message = f"retry in {delay_ms / 1000:g} s" + (f": {again.exc!r}" if again.exc else "")
        self._patiently(self.state.defer, self.job, self.step.key, self.number, delay_ms, message)

    def _reject(self, reject: Reject) -> NoReturn:
        if reject.requeue:
            self._release()
        else:
            self._fail(reject, "the step rejected its message")
        raise reject

    def _on_hard_limit(self, limit_s: float) -> None:
        self._fail(TimeLimitExceeded(limit_s), f"the step ran for longer than its limit of {limit_s:g} s")

    def _fail(self, error: BaseException, message: str = "", alert: str = "failed") -> None:
        document = error_document(self.task.name, self.request.id, error, message)
        fail = functools.partial(self.state.fail, attempt=self.number, alert=alert)
        verdict = self._patiently(fail, self.job, self.step.key, document)
        self.request.is_told = True
        if verdict == "failed":
            self._send([f"={key}" for key in self.step.errbacks])
            self.task.parts.notifier.log(f"job {self.job} failed: {document['message']}", job=self.job)


def owner_of(hostname: str) -> str:
    """Return what the lease tokens of this life of a worker start with."""
    return f"{hostname}~{INSTANCE}#"


def was_told_to_stop(request: Any) -> bool:
    """Whether the code of a request has seen that it is cancelled: what it gives then is no result."""
    return bool(getattr(request, "cancelled_asked", (0.0, False))[1])
