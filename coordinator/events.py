"""Celery's events, gathered for a moment and sent without waiting for a confirm.

Owns how the worker tells Flower what it does. Invariant: only events go unconfirmed: they
are transient. Celery's loop sends them at each turn, mostly one by one, and waits for the
confirm of each: that took more than a third of a busy worker's main loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher
from kombu.asynchronous import get_event_loop

#: How long an event may wait for others.
GATHERED_S = 0.2
GATHERED_EVENTS = 100


class GatheringDispatcher(EventDispatcher):
    """Sends many events in one message, on a channel that does not ask for confirms."""

    def __init__(
        self, *args: Any, on_send_buffered: Callable[[], None] | None = None, **options: Any
    ) -> None:
        """Take what Celery's own does; ``on_send_buffered`` is called where a worker's loop runs."""
        gather = self._gather if on_send_buffered else None
        super().__init__(*args, on_send_buffered=gather, buffer_limit=GATHERED_EVENTS, **options)
        self._is_due = False
        self._flushed_at = float("-inf")

    def enable(self) -> None:
        """Start sending."""
        super().enable()
        channel = self.producer.channel
        # py-amqp puts the confirming method over the plain one, channel by channel.
        plain = getattr(channel, "_basic_publish", None)
        if plain is not None and self.channel is None:
            channel.basic_publish = plain

    def send(self, type: str, *args: Any, **fields: Any) -> Any:
        """Send an event, perhaps a moment later; that a step has started is said before a long one runs."""
        answer = super().send(type, *args, **fields)
        if type == "task-started" and time.monotonic() - self._flushed_at > GATHERED_S:
            self.flush()
        return answer

    def flush(self, errors: bool = True, groups: bool = True) -> None:
        """Send what was gathered."""
        self._flushed_at = time.monotonic()
        super().flush(errors=errors, groups=groups)

    def _gather(self) -> None:
        loop = get_event_loop()
        if loop is not None and not self._is_due:
            self._is_due = True
            loop.call_later(GATHERED_S, self._flush_gathered)

    def _flush_gathered(self) -> None:
        self._is_due = False
        self.flush()


class GatheredEvents(Events):
    """``app.events``."""

    dispatcher_cls = "coordinator.events:GatheringDispatcher"
