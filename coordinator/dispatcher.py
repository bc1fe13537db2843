"""``TaskDispatcher``: steps become Celery messages, published in bulk, confirmed once.

Owns what a step's message says. Invariant: ``send`` returns only after the broker
has confirmed every message; a message says nothing that the plan doesn't. Celery's
protocol, routing, serializer and publish signals are kept. Each thread and each
process has its own connection, a ``Line``. What to send, and taking it off the
outbox afterwards, is ``outbox.py``'s.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from coordinator.errors import BrokerUnreachable, StepTooLarge
from coordinator.line import Line, Returned
from coordinator.plan import DELAYS, PlannedStep
from coordinator.routing import Routing
from coordinator.settings import redacted
from coordinator.state.keys import step_id
from coordinator.state.plans import FIRST_EPOCH

HEADER = "batuta"
#: What a message is made from: the task's name, and what ``Line.publish`` takes.
Made = tuple[str, dict[str, Any], dict[str, Any]]
#: Messages of a part; two parts are on their way at once, which bounds the memory of a large header.
SEND_AT_ONCE = 500
ATTEMPTS = 3
#: AMQP's word for a message that is larger than RabbitMQ's max_message_size, among others.
PRECONDITION_FAILED = 406

logger = logging.getLogger(__name__)


class TaskDispatcher:
    """Publishes work to the broker. Safe to share between threads and across a fork."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self.routing = Routing(app)
        self._local = threading.local()

    def send(
        self,
        job: str,
        steps: Sequence[PlannedStep],
        retries: Mapping[str, int] | None = None,
        *,
        epoch: str = FIRST_EPOCH,
        on_part: Callable[[], None] | None = None,
    ) -> None:
        """Publish one message for each step, and wait until the broker has confirmed them all.

        Args:
            job: the job that the steps belong to.
            steps: what to send; sending a step again is harmless.
            retries: how often a step has been retried, by key.
            epoch: of the job, when the steps were found in its plan.
            on_part: called while many are on their way, after each part of them.

        Raises:
            BrokerUnreachable: after a few tries; some of the messages may have arrived.
            StepTooLarge: the broker refuses one for its size; some of the others may have arrived.
        """
        parts = (steps[start : start + SEND_AT_ONCE] for start in range(0, len(steps), SEND_AT_ONCE))
        again = retries or {}
        made = ([self._step_message(job, s, again.get(s.key, 0), epoch) for s in part] for part in parts)
        self._send(made, on_part)

    def connect(self) -> None:
        """Make sure that the broker can be reached now.

        Raises:
            BrokerUnreachable.
        """
        self._publish([])

    def dispatch_task(
        self, name: str, payload: Mapping[str, Any], *, queue: str | None = None, priority: int | None = None
    ) -> str:
        """Publish one task that belongs to no job, confirmed; returns its id.

        Args:
            name: the Celery task's name.
            payload: its keyword arguments.
        """
        task_id = str(uuid.uuid4())
        options: dict[str, Any] = {"queue": queue} if queue else {}
        if priority is not None:
            options["priority"] = priority
        self._send([[(name, {"task_id": task_id, "kwargs": dict(payload)}, options)]])
        return task_id

    def queue_of(self, step: PlannedStep) -> str:
        """Return the name of the queue that a step goes to."""
        return self.routing.queue_of(step)

    def lane_of(self, step: PlannedStep) -> str:
        """Return the name of what a step is queued in, first in, first out: see ``Routing.lane_of``."""
        return self.routing.lane_of(step)

    def close(self) -> None:
        """Close this thread's connection."""
        line = self._local.__dict__.pop("line", None)
        if line is not None:
            line.close()

    def _step_message(self, job: str, step: PlannedStep, retries: int, epoch: str) -> Made:
        options = self.routing.options_of(step)
        header: dict[str, Any] = {
            "job": job,
            "key": step.key,
            "take": step.after if step.takes else "",
            "follow": step.follow,
            "phase": step.phase,
        }
        if step.errbacks:
            header["errbacks"] = step.errbacks
        if epoch != FIRST_EPOCH:
            header["epoch"] = epoch
        if base := options.pop(
            "retries", 0
        ):  # of the signature: it begins as if it had been retried so often
            header["retries"] = base
        headers = {**options.pop("headers", {}), HEADER: header}
        names = (*_MESSAGE_OPTIONS, *options.get("stamped_headers", ()))
        message = {
            "task_id": step_id(job, step.key, step.label),
            "args": step.args,
            "kwargs": step.kwargs or {},
            "root_id": job,
            "retries": retries + base,
            **{name: options.pop(name) for name in names if name in options},
        }
        for name in DELAYS:  # the outbox waits, in Redis
            options.pop(name, None)
        return step.task, message, {**options, "headers": headers}

    def _send(self, parts: Iterable[Sequence[Made]], on_part: Callable[[], None] | None = None) -> None:
        """Publish messages part by part: while the broker takes one, the next is made."""
        unconfirmed: Sequence[Made] = ()
        try:
            for part in parts:
                self._publish(part, unconfirmed)
                unconfirmed = part
                if on_part:
                    on_part()
            self._publish((), unconfirmed)
        except BaseException:  # a message that can't be made, a time limit: others may lie half sent
            self.close()
            raise

    def _publish(self, messages: Sequence[Made], unconfirmed: Sequence[Made] = ()) -> None:
        """Publish messages, then wait for the confirms of those that were published before them."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                line = self._line()
                if attempt > 1:  # on another connection
                    for message in unconfirmed:
                        line.publish(*message)
                last = line.sent
                for message in messages:
                    line.publish(*message)
                if unconfirmed:
                    line.confirm(last)
                return
            except self._errors() as error:
                self.close()
                if getattr(error, "reply_code", None) == PRECONDITION_FAILED and "message size" in str(error):
                    raise StepTooLarge(f"the broker refuses the message: {error}") from error
                if attempt == ATTEMPTS:
                    url = redacted(self._app.conf.broker_url or "")
                    raise BrokerUnreachable(
                        f"the broker at {url} can't be used: {str(error) or type(error).__name__}; "
                        "is it running, and BROKER_URL right?"
                    ) from error
                logger.warning("publish-retried", extra={"attempt": attempt, "error": str(error)})
                time.sleep(min(0.1 * 4 ** (attempt - 1), 2.0))

    def _errors(self) -> tuple[type[BaseException], ...]:
        transport = self._app.connection_for_write().transport
        errors: tuple[type[BaseException], ...] = transport.connection_errors + transport.channel_errors
        return (*errors, OperationalError, OSError, Returned)

    def _line(self) -> Line:
        line: Line | None = self._local.__dict__.get("line")
        if line is None or line.pid != os.getpid():
            line = self._local.line = Line(self._app)
        return line


_MESSAGE_OPTIONS = ("time_limit", "soft_time_limit", "expires", "shadow", "stamped_headers")
