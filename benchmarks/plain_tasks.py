"""The same tasks on plain Celery, with its best settings for durability."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

app = Celery("plain", broker=os.environ["BROKER_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_transport_options={"confirm_publish": os.environ.get("PLAIN_CONFIRMS", "1") == "1"},
    task_serializer="json",
    result_serializer="json",
    task_default_queue=os.environ.get("PLAIN_QUEUE", "plain"),
    worker_send_task_events=True,
    broker_connection_retry_on_startup=True,
)


@app.task
def noop(n: int) -> int:
    return n


@app.task
def count(values: list[Any]) -> int:
    return len(values)


@app.task
def hop(n: int) -> int:
    return n + 1
