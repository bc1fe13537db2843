"""The same job as plain Celery canvas, on Celery's best settings and its own Redis backend.

A worker starts with ``-A tests.faults.plain.jobs``; where the environment names a board, the same
crash points are installed as for Batuta. Nothing of Batuta runs here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery, chain, chord
from kombu.utils.json import loads
from redis.connection import ConnectionPool

import tests.faults.crash_points  # noqa: F401  installs itself where CRASH_BOARD is set

QUEUE_VARIABLE = "PLAIN_QUEUE"
DEDUPLICATE_VARIABLE = "PLAIN_DEDUPLICATE"
#: validate gives 1; the parts give 1 + 5 + 7 + 9; publish hands it on.
VALUE = 22
#: Celery wants a backend of whoever submits a chord, and asks nothing of it.
NO_RESULTS = "cache+memory://"


def make_app(broker_url: str, redis_url: str, queue: str, *, deduplicate: bool = False) -> Celery:
    """Return an app with the settings that Celery's documentation gives for work that must not be lost.

    Args:
        broker_url, redis_url: where messages and results go; one that only submits needs no results.
        queue: where the steps go.
        deduplicate: whether workers drop a redelivered message whose result is stored.
    """
    app = Celery("plain", broker=broker_url, backend=redis_url or NO_RESULTS, set_as_current=False)
    app.conf.update(
        task_default_queue=queue,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        broker_transport_options={"confirm_publish": True},
        broker_connection_retry_on_startup=True,
        worker_deduplicate_successful_tasks=deduplicate,
        task_track_started=False,
    )
    return app


def _from_environment() -> Celery:
    env = os.environ
    if QUEUE_VARIABLE not in env:  # imported by the test, which makes its own
        return make_app("memory://", "", "plain")
    return make_app(
        env["BROKER_URL"],
        env["REDIS_URL"],
        env[QUEUE_VARIABLE],
        deduplicate=bool(env.get(DEDUPLICATE_VARIABLE)),
    )


app = _from_environment()


def canvas(on: Celery, path: str) -> Any:
    """Return validate → chord of four → publish."""

    def signature(name: str, *args: Any, immutable: bool = False) -> Any:
        return on.signature(f"plain.{name}", args=(*args, path), immutable=immutable)

    header = [
        signature("part"),
        *(signature("part", number, immutable=True) for number in (5, 7, 9)),
    ]
    validate = signature("validate", 1, immutable=True)
    return chain(validate, chord(header, signature("merge"), app=on), signature("publish"), app=on)


@app.task(name="plain.validate", bind=True)
def validate(self: Any, value: int, path: str) -> int:
    return _noted(self, "validate", value, path)


@app.task(name="plain.part", bind=True)
def part(self: Any, value: int, path: str) -> int:
    return _noted(self, f"part{value}", value, path)


@app.task(name="plain.merge", bind=True)
def merge(self: Any, values: list[int], path: str) -> int:
    return _noted(self, "merge", sum(values), path)


@app.task(name="plain.publish", bind=True)
def publish(self: Any, value: int, path: str) -> int:
    return _noted(self, "publish", value, path)


def _noted(task: Any, name: str, value: int, path: str) -> int:
    """Write a line for each run, which says whether the step's result was stored before it began."""
    line = f"{name} {'again' if _is_stored(task.request.id) else 'first'}\n"
    with Path(path).open("a") as file:
        file.write(line)
    return value


def _is_stored(task_id: str) -> bool:
    # By a connection of its own, below what the crash points count: looking must not add points.
    pool = ConnectionPool.from_url(os.environ["REDIS_URL"])
    connection = pool.get_connection()
    try:
        connection.send_command("GET", f"celery-task-meta-{task_id}")
        text = connection.read_response()
    finally:
        connection.disconnect()
    return text is not None and loads(text)["status"] == "SUCCESS"
