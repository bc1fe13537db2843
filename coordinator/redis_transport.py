"""kombu's Redis transport, less two faults that end a worker when Redis restarts under it.

Closing a lost connection, kombu 5.7 puts unacknowledged messages back, and a step that
ends later is acknowledged, both by way of the connection that is gone: the
``AttributeError`` of that ends the worker. Nothing is lost by doing neither: a step that
was recorded answers a second message from the journal, one that was not is redriven.
"""

from __future__ import annotations

import logging
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis

logger = logging.getLogger(__name__)


class QoS(redis.QoS):
    """The messages of one channel that are not acknowledged yet."""

    def restore_unacked(self, client: Any = None) -> Any:
        """Put them back, unless the connection is gone."""
        if self._is_connected():
            return super().restore_unacked(client)
        logger.info("broker.unacked_left", extra={"messages": len(self._delivered)})
        self._delivered.clear()
        return None

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge one, unless its connection is gone."""
        if self._is_connected():
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Reject one, unless its connection is gone."""
        if self._is_connected():
            super().reject(delivery_tag, requeue=requeue)

    def _is_connected(self) -> bool:
        transport = self.channel.connection
        return transport is not None and transport.client is not None


class Channel(redis.Channel):
    """A channel whose end never ends the worker."""

    QoS = QoS


class Transport(redis.Transport):
    """``redis://`` and ``rediss://``."""

    Channel = Channel


def install() -> None:
    """Use it for every Redis broker of this process; idempotent."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
