"""Plain Celery and Batuta, as the process that submits sees them: the same calls for both."""

from __future__ import annotations

import time
from typing import Any

from amqp import Message
from celery import chain, chord

from benchmarks.noop_tasks import tasks_of

PLAIN, CONFIRMED, OURS, BARE = "plain Celery", "plain Celery, confirmed", "Batuta", "py-amqp"
#: What a side's lines say of it, where they name plain Celery without a word more.
HOW = {PLAIN: "", CONFIRMED: ", its publishes confirmed"}
LOOK_S = 0.005
#: Of a message of py-amqp's: as long as a step's of Batuta, which is counted in the row "message".
BODY = b"x" * 655
PATIENCE_S = 900
NATURAL_PATIENCE_S = 240


class Plain:
    """Plain Celery: late acks, reject on worker lost; by default, as it is, it publishes unconfirmed."""

    app = "benchmarks.plain_app"

    def __init__(self, *, confirms: bool = False) -> None:
        from benchmarks.plain_app import make_app

        self.name = CONFIRMED if confirms else PLAIN
        self.env = {"PLAIN_CONFIRMS": str(int(confirms))}
        self._app = make_app(confirms=confirms)
        self.tasks = tasks_of(self._app)

    def publish(self, size: int) -> Any:
        """Publish a chord; returns what to wait for."""
        return chord([self.tasks.noop.s(n) for n in range(size)], self.tasks.count.s()).apply_async()

    def wait(self, result: Any) -> Any:
        """Wait by looking at the result's key: the cheapest way there is."""
        key = result.backend.get_key_for_task(result.id)
        while not result.backend.client.exists(key):
            time.sleep(LOOK_S)
        return result.backend.get_result(result.id)

    def wait_naturally(self, result: Any) -> Any:
        return result.get(timeout=NATURAL_PATIENCE_S)

    def chain(self, length: int, path: str) -> None:
        assert self.wait(stamps(self.tasks, length, path).apply_async()) == length

    def submit(self) -> None:
        self.tasks.noop.delay(1)

    def purge(self) -> None:
        """Take every message out of the queue."""
        self._app.control.purge()


class Ours:
    """Batuta: every step journaled, every message confirmed."""

    name, app, env = OURS, "coordinator.app", {"COORDINATOR_JOBS": "benchmarks.noop_tasks"}

    def __init__(self) -> None:
        from coordinator import Coordinator

        self.coordinator = Coordinator.from_settings()
        self.tasks = tasks_of(self.coordinator.app)

    @property
    def redis(self) -> Any:
        return self.coordinator.state_manager.client

    def publish(self, size: int) -> str:
        canvas = chord([self.tasks.noop.s(n) for n in range(size)], self.tasks.count.s())
        return str(self.coordinator.launch(canvas))

    def wait(self, job: str) -> Any:
        return self.coordinator.wait(job, timeout_s=PATIENCE_S)

    wait_naturally = wait

    def chain(self, length: int, path: str) -> None:
        assert self.wait(str(self.coordinator.launch(stamps(self.tasks, length, path)))) == length

    def submit(self) -> None:
        self.coordinator.launch(self.tasks.noop.s(1))

    def purge(self) -> None:
        self.coordinator.app.control.purge()


class Bare(Ours):
    """py-amqp by itself on Batuta's queue: a publisher that does nothing else and waits for confirms once."""

    name = BARE

    def publish(self, size: int) -> str:
        app = self.coordinator.app
        connection = app.connection_for_write()
        connection.transport_options = {}  # one look at the confirms of all, not one for each
        with connection:
            channel, unconfirmed, first = connection.channel(), set(range(1, size + 1)), 1
            channel.confirm_select()

            def on_ack(last: int, multiple: bool) -> None:
                nonlocal first
                unconfirmed.difference_update(range(first, last + 1) if multiple else (last,))
                first = last + 1 if multiple else first

            channel.events["basic_ack"].add(on_ack)
            place = app.conf.task_default_queue
            for _ in range(size):
                channel.basic_publish(Message(BODY, delivery_mode=2), exchange=place, routing_key=place)
            while unconfirmed:
                connection.drain_events(timeout=PATIENCE_S)
        return ""


Side = Plain | Ours


def sides() -> dict[str, Side]:
    """Return every side by its name; the environment must name the servers."""
    return {side.name: side for side in (Plain(), Plain(confirms=True), Ours(), Bare())}


def stamps(tasks: Any, length: int, path: str) -> Any:
    """A chain whose steps note when they run."""
    return chain(tasks.stamp.s(0, path), *[tasks.stamp.s(path) for _ in range(length - 1)])
