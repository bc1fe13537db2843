"""``Line``: a connection that publishes many messages and then waits for all of their confirms.

Owns the way from a message to the broker's word that it has it. Invariant: ``confirm``
returns only when every message that it is asked for was confirmed, and raises where one was not.
Frames are gathered and written many at once: a system call for each message, and for each
look whether the broker has said anything, took most of the time of publishing. A line
belongs to one thread of one process.
"""

from __future__ import annotations

import functools
import itertools
import os
import time
from typing import Any

from amqp import spec
from amqp.method_framing import frame_writer
from celery import Celery

from coordinator.alike import AlikeMessage, shortened
from coordinator.template import Template

CONFIRM_TIMEOUT_S = 15.0
#: Gathered frames are written when they are as many bytes.
GATHERED_BYTES = 64 * 1024
#: AMQP's type of a frame that begins a method.
METHOD_FRAME = 1


class Returned(Exception):
    """The broker found no queue for a message."""


class Line:
    """One connection, its channel, and what is still unconfirmed on it."""

    def __init__(self, app: Celery) -> None:
        self.pid = os.getpid()
        self._app = app
        self._connection = app.connection_for_write()
        # Confirms are counted by hand: waiting for each by itself is ten times slower.
        self._connection.transport_options = {**self._connection.transport_options, "confirm_publish": False}
        self._connection.ensure_connection(max_retries=1, timeout=5)
        self._channel = self._connection.channel()
        self._is_adopted = getattr(getattr(app, "parts", None), "is_adopted", False)
        self._is_amqp = self._connection.transport.driver_type == "amqp"
        self.sent = 0  # messages; the number of the last is its delivery tag
        self._unconfirmed: dict[int, None] = {}  # delivery tags, in order
        self._declared: set[str] = set()  # queues
        self._fault: Exception | None = None
        self._template: Template | None = None  # of the last message that was made in Celery's way
        if self._is_amqp:
            # Asked for it after a loss, kombu would connect anew, or raise.
            self._wire = self._connection.connection
            self._wire.on_blocked = self._on_blocked
            self._channel.confirm_select()
            self._channel.events["basic_ack"].add(self._on_ack)
            self._channel.events["basic_nack"].add(self._on_nack)
            self._channel.events["basic_return"].add(self._on_return)
            self._gathered = _Gathered(self._wire)
            prepare = self._channel.prepare_message
            self._channel.prepare_message = functools.partial(prepare, _Message=AlikeMessage)
        self._producer = app.amqp.Producer(self._channel)

    def publish(self, name: str, message: dict[str, Any], options: dict[str, Any]) -> None:
        """Publish a task's message; it may leave only with ``confirm``.

        Args:
            name: the task's.
            message: what ``create_task_message`` takes.
            options: what ``send_task_message`` takes.
        """
        if self._is_amqp:
            options = {**options, "mandatory": True}
        elif not self._is_adopted:  # on Redis 0 is the most urgent, and what a message without one has
            options = {**options, "priority": max(0, 9 - (options.get("priority") or 0))}
        queue = options.get("queue")
        queue = getattr(queue, "name", queue)
        if queue in self._declared:
            options = {**options, "declare": ()}
        if self._template and self._template.fits(name, message, options):
            self._gathered.publish(self._channel.channel_id, self._template.make(message, options))
        else:
            body = self._app.amqp.create_task_message(name=name, **message)
            body.properties["correlation_id"] = shortened(message["task_id"])
            self._app.amqp.send_task_message(self._producer, name, body, retry=False, **options)
            if self._is_amqp and queue in self._declared:
                self._template = Template.of(self._app, name, message, options, self._gathered.sent)
        if queue:
            self._declared.add(queue)
        self.sent += 1
        self._unconfirmed[self.sent] = None

    def confirm(self, last: int) -> None:
        """Wait until the broker has taken every message up to the ``last``, a number of ``sent``."""
        if not self._is_amqp:  # other transports answer each publish
            self._unconfirmed.clear()
            return
        ends = time.monotonic() + CONFIRM_TIMEOUT_S
        self._gathered.flush()
        while self._fault is None and next(iter(self._unconfirmed), last + 1) <= last:
            left = ends - time.monotonic()
            if left <= 0:
                raise TimeoutError(
                    f"no confirm within {CONFIRM_TIMEOUT_S:g} s; a memory or disk alarm may block the broker"
                )
            self._connection.drain_events(timeout=left)
        if self._fault is not None:
            raise self._fault

    def close(self) -> None:
        if self.pid != os.getpid():
            return
        if self._is_amqp and self._unconfirmed:
            # A broker that is blocked or gone never answers a polite close.
            self._wire.collect()
        self._connection.release()

    def _on_ack(self, delivery_tag: int, multiple: bool) -> None:
        if multiple:
            for tag in list(itertools.takewhile(lambda tag: tag <= delivery_tag, self._unconfirmed)):
                del self._unconfirmed[tag]
        else:
            self._unconfirmed.pop(delivery_tag, None)

    def _on_nack(self, delivery_tag: int, _multiple: bool) -> None:
        self._fault = OSError(f"the broker refused message {delivery_tag}")

    def _on_blocked(self, _reason: str) -> None:
        self._fault = OSError("the broker blocks publishers: it is short of memory or disk")

    def _on_return(self, *_returned: object) -> None:
        self._fault = Returned("no queue took the message; it is declared again")


class _Gathered:
    """Holds back the frames of published messages on one AMQP connection; all others leave in their turn."""

    def __init__(self, connection: Any) -> None:
        self._transport = connection.transport
        self._frames = bytearray()
        self._way, self.sent = b"", None  # exchange and routing key of the last message, and the message
        self._write_now = connection.frame_writer
        self._gather = frame_writer(connection, self)
        connection.frame_writer = self._write_frame
        # py-amqp would look for a notice of blocking before each message; ``confirm`` sees it too.
        connection.client_properties["capabilities"].pop("connection.blocked", None)

    def write(self, frame: memoryview) -> None:
        """Take a frame, as py-amqp's transport does."""
        self._frames += frame
        if len(self._frames) >= GATHERED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        if self._frames:
            frames, self._frames = self._frames, bytearray()
            self._write(frames)

    def _write(self, frames: bytearray) -> None:
        with self._transport.having_timeout(CONFIRM_TIMEOUT_S):
            self._transport.write(frames)

    def publish(self, channel: int, content: Any) -> None:
        """Take a message that goes where the last one went."""
        self._gather(METHOD_FRAME, channel, spec.Basic.Publish, self._way, content)

    def _write_frame(self, type_: int, channel: int, method: Any, args: Any, content: Any) -> None:
        if method == spec.Basic.Publish:
            self._way, self.sent = args, content
            self._gather(type_, channel, method, args, content)
        else:
            self.flush()
            self._write_now(type_, channel, method, args, content)
