"""Look at queues from outside: messages, consumers, and whether their type is the one that is set.

Owns passive declarations. Invariant: it changes nothing. On RabbitMQ the broker knows the
consumers; other brokers don't, so there they are None.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from celery import Celery
from kombu import Connection

from coordinator.errors import BrokerUnreachable
from coordinator.reach import unreachable
from coordinator.settings import redacted

ANSWER_S = 3
#: Options of a transport, by driver: a broker that blocks publishers, or hangs, would be waited for for ever.
_IMPATIENT: dict[str, dict[str, Any]] = {
    "amqp": {"read_timeout": ANSWER_S, "write_timeout": ANSWER_S, "confirm_publish": False},
    "redis": {"socket_timeout": ANSWER_S / 2, "socket_connect_timeout": ANSWER_S / 2},
}


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as it stands."""

    name: str
    exists: bool = True
    messages: int = 0  # that wait; those held by a worker are not counted
    consumers: int | None = None  # None: this broker does not know
    conflict: str = ""  # why it can't be declared as the settings say


def look(app: Celery, names: Iterable[str]) -> list[Queue]:
    """Return how queues stand.

    Raises:
        BrokerUnreachable: within a few seconds.
    """
    with connect(app) as connection:
        return [_look(app, connection, name) for name in sorted(set(names))]


def connect(app: Celery) -> Connection:
    """Return a connection, made now or not at all.

    Raises:
        BrokerUnreachable.
    """
    url = app.conf.broker_url or ""
    fault = unreachable(url)
    if not fault:
        connection = app.connection_for_write(connect_timeout=ANSWER_S)
        hurry(connection)
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=ANSWER_S)
        except Exception as error:  # kombu raises whatever its transport does
            connection.release()
            fault = str(error) or type(error).__name__
        else:
            return connection
    raise BrokerUnreachable(
        f"the broker at {redacted(url)} can't be used: {fault}; is it running, and BROKER_URL right?"
    )


def hurry(connection: Connection) -> None:
    """Let a connection that is still to be made wait for no answer for long."""
    options = _IMPATIENT.get(connection.transport.driver_type, {})
    connection.transport_options = {**connection.transport_options, **options}


def _look(app: Celery, connection: Connection, name: str) -> Queue:
    is_amqp = connection.transport.driver_type == "amqp"
    channel = connection.channel()  # a refusal closes its channel, nothing else
    try:
        answer = channel.queue_declare(queue=name, passive=True)
    except (*connection.connection_errors, *connection.channel_errors) as error:
        if getattr(error, "code", None) in (403, 405):  # not ours to look at, or another's alone
            return Queue(name, conflict=str(error))
        return Queue(name, exists=False)
    finally:
        _close(channel)
    _, messages, consumers = answer
    conflict = _conflict(app, connection, name) if is_amqp else ""
    return Queue(name, True, int(messages), int(consumers) if is_amqp else None, conflict)


def _conflict(app: Celery, connection: Connection, name: str) -> str:
    """Declare a queue that exists: that changes nothing, and is refused where it is another sort."""
    wanted = app.amqp.queues.get(name) if name in app.amqp.queues else None
    if wanted is None:
        return ""
    channel = connection.channel()
    try:
        wanted(channel).queue_declare()
    except connection.channel_errors as error:
        return str(getattr(error, "reply_text", "") or error)
    finally:
        _close(channel)
    return ""


def _close(channel: Any) -> None:
    if getattr(channel, "is_open", True):
        channel.close()
