"""A Celery application with one task, to test the test servers themselves."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("trivial", broker=os.environ["BROKER_URL"], backend=os.environ["REDIS_URL"])
app.conf.task_default_queue = os.environ.get("COORDINATOR_QUEUE", "celery")
app.conf.broker_connection_retry_on_startup = True


@app.task(name="trivial.add")
def add(x: int, y: int) -> int:
    """Return the sum."""
    return x + y
