"""Submit a job: validate, record, send, in this order.

Owns the way from a request to a recorded job. Invariant: a job is recorded
before anything of it is sent; what is refused is recorded too, with its reasons.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kombu.utils.json import dumps

from coordinator import registry, tracing, validation
from coordinator.compiler import compile_canvas
from coordinator.errors import InvalidParams, InvalidRequest, KeyTaken, Unreachable
from coordinator.forecast import Forecast, forecast
from coordinator.parts import Parts
from coordinator.plan import Plan, PlannedStep
from coordinator.registry import Kind
from coordinator.serving import Serving, serving
from coordinator.states import Receipt, State
from coordinator.values import written

#: The kind of a job that was launched from a canvas.
CANVAS = "canvas"
#: A canvas of more steps is counted where others are spelled out.
SPELLED_STEPS = 100


logger = logging.getLogger(__name__)


class Submission:
    """Submits jobs; the half of the façade that makes them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._state = parts.state

    def submit(
        self,
        kind: str,
        params: Mapping[str, Any],
        *,
        key: str | None = None,
        queue: str | None = None,
        priority: int | None = None,
        deadline_s: float | None = None,
    ) -> Receipt:
        """Submit a job. Idempotent with a key: the same key makes one job.

        Args:
            kind: a registered kind.
            params: its parameters: JSON values.
            key: the idempotency key; where it is plain text it is the job's id.
            queue: where its steps go; the default queue if None.
            priority: 0 to 9, 9 first.
            deadline_s: seconds from now after which the job fails.

        Returns:
            a receipt: ``accepted``, ``duplicate``, or ``rejected`` with the reasons in ``errors``.

        Raises:
            UnknownKind, UnsupportedCanvas, InvalidRequest, BuilderFailed.
        """
        known = registry.kind(kind)
        job = validation.job_id_for(kind, key)
        try:
            valid = validation.validate(known, params, self._options(queue, priority))
        except InvalidParams as error:
            return self._reject(job, known, params, error.facts["errors"])
        state = State.RECEIVED if known.checks else State.PROCESSING
        fields = self._fields(kind, known.version, valid.plan, valid.params, valid.params_hash, state)
        return self._accept(
            job, kind, state, fields, plan=valid.plan, flags=valid.flags, deadline_s=deadline_s
        )

    def plan(
        self, kind: str, params: Mapping[str, Any], *, queue: str | None = None, priority: int | None = None
    ) -> Plan:
        """Return what would run, without running it.

        Raises:
            UnknownKind, InvalidParams, UnsupportedCanvas.
        """
        return validation.validate(registry.kind(kind), params, self._options(queue, priority)).plan

    def forecast(self, plan: Plan, fragments: Mapping[str, Plan] | None = None) -> Forecast:
        """Return how many messages a plan will send to which queues; connects to nothing.

        Args:
            plan: as ``plan`` or ``plan_of`` return it.
            fragments: the plans that took the place of steps, where the job runs already.
        """
        return forecast(plan, self._parts.dispatcher.queue_of, fragments)

    def serving(self, forecast: Forecast) -> Serving:
        """Return which live workers can serve the queues of a forecast, or why they could not be asked."""
        return serving(self._parts, forecast)

    def queue_of(self, step: PlannedStep) -> str:
        """Return the queue that a step of a plan goes to: its own, its task's, or where routes send it."""
        return self._parts.dispatcher.queue_of(step)

    def launch(
        self,
        canvas: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> str:
        """Make a job of a Celery canvas; returns its id. Idempotent with a key.

        Args:
            canvas: a signature of any type, or its dict form.
            args: partial arguments, as ``canvas.apply_async`` takes them: JSON values.
            kwargs: the same by name.
            key: the idempotency key; where it is plain text it is the job's id.
            deadline_s: seconds from now after which the job fails.

        Raises:
            UnsupportedCanvas: naming the signature that can't be kept.
        """
        plan = compile_canvas(canvas, args=args, kwargs=kwargs)
        job = validation.job_id_for(CANVAS, key)
        params = {"canvas": _shown(canvas, plan)}
        fields = self._fields(CANVAS, "", plan, params, validation.hash_of(params), State.PROCESSING)
        return self._accept(job, CANVAS, State.PROCESSING, fields, plan=plan, deadline_s=deadline_s).id

    def _options(self, queue: str | None, priority: int | None) -> dict[str, Any]:
        """Return what holds for each step that has none of its own."""
        priority = None if priority is None else self._parts.priority_of(priority)
        return {name: v for name, v in (("queue", queue), ("priority", priority)) if v is not None}

    def _fields(
        self, kind: str, version: str, plan: Plan, params: Any, params_hash: str, state: State
    ) -> dict[str, Any]:
        receipt = {"receipt": params_hash} if state == State.PROCESSING else {}
        return {
            "kind": kind,
            "version": version,
            "total": plan.size,
            "params": dumps(params),
            "params_hash": params_hash,
            **receipt,
        }

    def _accept(
        self,
        job: str,
        kind: str,
        state: State,
        fields: dict[str, Any],
        *,
        plan: Plan,
        deadline_s: float | None,
        flags: Any = None,
    ) -> Receipt:
        self._parts.dispatcher.connect()  # refused and absent, rather than recorded and not sent
        deadline_ms = None if deadline_s is None else round(deadline_s * 1000)
        with tracing.submitting(job, kind) as trace:
            fields = {**fields, **trace}
            answer = self._state.submit(job, state, fields, plan=plan, flags=flags, deadline_ms=deadline_ms)
            if answer[0] == "duplicate":
                return self._duplicate(job, kind, answer)
            with left_to_the_reconciler(job):
                self._parts.outbox.send_first(job, plan)
        return Receipt(job, "accepted")

    def _reject(self, job: str, kind: Kind, params: Mapping[str, Any], errors: list[str]) -> Receipt:
        reason = "; ".join(errors)
        try:
            text = written(params)
        except ValueError as error:  # nor can they be kept, to show what was refused
            raise InvalidRequest(f"{reason}; {error}") from error
        flags = validation.rejected_flags(kind, params, errors)
        fields = {"kind": kind.name, "version": kind.version, "total": 0, "params": text}
        answer = self._state.submit(job, State.REJECTED, fields, flags=flags, reason=reason)
        if answer[0] == "duplicate":
            return self._duplicate(job, kind.name, answer)
        self._parts.notifier.log(f"job {job} was rejected: {reason}", job=job, severity="warning")
        return Receipt(job, "rejected", tuple(errors))

    def _duplicate(self, job: str, kind: str, answer: list[str]) -> Receipt:
        if answer[2] != kind:
            raise KeyTaken(
                f"the key {job!r} is taken by a job of kind {answer[2]}; use another key for {kind}", job=job
            )
        return Receipt(job, "duplicate")


@contextlib.contextmanager
def left_to_the_reconciler(job: str) -> Iterator[None]:
    """Send what is recorded; what can't be sent now is in the outbox, and goes when the servers are back."""
    try:
        yield
    except Unreachable as error:
        logger.warning("left-in-outbox: %s: %s", job, error)


def _shown(canvas: Any, plan: Plan) -> str:
    """Return a canvas as people read it: the text of a large one would be larger than its plan."""
    return str(canvas) if plan.size <= SPELLED_STEPS else f"{canvas['task']}: {plan.size:,} steps"
