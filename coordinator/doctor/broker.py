"""Check the broker: that it answers, its version, and the queues that steps go to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kombu import Connection

from coordinator.counted import counted
from coordinator.doctor.finding import ERROR, OK, WARN, Finding, judged
from coordinator.errors import BrokerUnreachable
from coordinator.parts import Parts
from coordinator.queues import Queue, connect, look
from coordinator.routing import parse_lane
from coordinator.settings import redacted

OLDEST_RABBITMQ = (3, 10)


def server(parts: Parts, *, has_redis: bool) -> Iterator[Finding]:
    """Check broker and queues; a single error that is named ``broker`` says that it can't be used.

    Args:
        has_redis: whether Redis answers, which knows the queues of jobs.
    """
    url = redacted(parts.settings.broker_url)
    try:
        with connect(parts.app) as connection:
            product, version = _version(connection)
    except BrokerUnreachable as error:
        fault = str(error).partition(" can't be used: ")[2].rpartition("; ")[0]
        yield Finding("broker", ERROR, f"{url}: {fault or error}", "start it, or correct BROKER_URL")
        return
    is_old = product == "RabbitMQ" and _numbers(version) < OLDEST_RABBITMQ
    yield judged(
        "broker",
        f"{product} {version}".strip() + f" at {url}",
        "use RabbitMQ 3.10 or newer",
        fault=WARN if is_old else "",
    )
    for queue in look(parts.app, queue_names(parts, of_jobs=has_redis)):
        yield from _queue(queue, parts.settings.queue_type)


def queue_names(parts: Parts, *, of_jobs: bool) -> set[str]:
    """Return the queues that steps are known to go to: of the settings, of tasks, and perhaps of jobs."""
    names = {parts.settings.queue, *parts.app.amqp.queues}
    names |= {
        queue for task in parts.app.tasks.values() if isinstance(queue := getattr(task, "queue", None), str)
    }
    if not of_jobs:
        return names
    try:
        lanes = parts.state.client.zrange(parts.state.keys.probes, 0, -1)
        return names | {parse_lane(lane.decode())[0] for lane in lanes}
    except Exception:  # Redis has findings of its own
        return names


def _queue(queue: Queue, wanted: str) -> Iterator[Finding]:
    name = f"queue {queue.name}"
    if "ACCESS_REFUSED" in queue.conflict:
        yield Finding(
            name,
            WARN,
            f"it can't be looked at: {queue.conflict}",
            "give the user of BROKER_URL the right to configure and read it, as workers need",
        )
    elif queue.conflict:
        yield Finding(
            name,
            ERROR,
            f"it is not the {wanted} queue that the settings say: {queue.conflict}",
            "set COORDINATOR_QUEUE_TYPE as it is, take another queue, or delete this one once it is empty",
        )
    elif not queue.exists:
        yield Finding(name, OK, "not made yet: the first worker or message makes it")
    elif queue.messages and queue.consumers == 0:
        yield Finding(
            name,
            ERROR,
            f"{counted(queue.messages, 'message')} and no consumer",
            f"start a worker that reads it: `manage.py worker -Q {queue.name}`",
        )
    else:
        consumers = "" if queue.consumers is None else f", {counted(queue.consumers, 'consumer')}"
        yield Finding(name, OK, f"{counted(queue.messages, 'message')} waiting{consumers}")


def _version(connection: Connection) -> tuple[str, str]:
    said: dict[str, Any] = getattr(connection.connection, "server_properties", None) or {}
    product = str(said.get("product") or connection.transport.driver_type)
    return product, str(said.get("version") or "")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
