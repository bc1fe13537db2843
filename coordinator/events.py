"""Celery's events, sent without waiting for a confirm.

Owns how the worker tells Flower what it does. Invariant: only events go unconfirmed: they are
transient, and a wait for each batch took a third of a busy worker's main loop. Tasks are confirmed.
"""

from __future__ import annotations

from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher


class UnconfirmedDispatcher(EventDispatcher):
    """Sends events on a channel that does not ask for confirms."""

    def enable(self) -> None:
        """Start sending."""
        super().enable()
        channel = self.producer.channel
        # py-amqp puts the confirming method over the plain one, channel by channel.
        plain = getattr(channel, "_basic_publish", None)
        if plain is not None and self.channel is None:
            channel.basic_publish = plain


class UnconfirmedEvents(Events):
    """``app.events``."""

    dispatcher_cls = "coordinator.events:UnconfirmedDispatcher"
