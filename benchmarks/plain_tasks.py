"""The same tasks on plain Celery, with its best settings for durability.

``PLAIN_CONFIRMS=0``: published as Celery does by default, without the broker's confirm.
"""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from celery import Celery

from benchmarks.stamps import stamped


def make_app(*, confirms: bool, is_current: bool) -> Celery:
    app = Celery(
        "plain",
        broker=os.environ["BROKER_URL"],
        backend=os.environ["REDIS_URL"],
        set_as_current=is_current,
    )
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        broker_transport_options={"confirm_publish": confirms},
        task_serializer="json",
        result_serializer="json",
        task_default_queue="plain",
        worker_send_task_events=True,
        broker_connection_retry_on_startup=True,
    )
    return app


app = make_app(confirms=os.environ.get("PLAIN_CONFIRMS", "1") == "1", is_current=True)


@app.task
def noop(n: int) -> int:
    return n


@app.task
def count(values: list[Any]) -> int:
    return len(values)


@app.task
def hop(n: int) -> int:
    return n + 1


@app.task
def stamp(n: int, path: str) -> int:
    return stamped(n, path)


def tasks(*, confirms: bool) -> SimpleNamespace:
    """The tasks on an application of their own, for a process that submits in both ways."""
    own = make_app(confirms=confirms, is_current=False)
    named = {task.__name__: own.task(name=task.name)(task.run) for task in (noop, count, hop, stamp)}
    return SimpleNamespace(app=own, **named)
