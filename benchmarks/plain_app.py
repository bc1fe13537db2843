"""Plain Celery for the same tasks, with its best settings for durability.

``PLAIN_CONFIRMS=0``: published as Celery does by default, without the broker's confirm.
"""

from __future__ import annotations

import os

from celery import Celery

from benchmarks import noop_tasks  # noqa: F401  its tasks are on every application


def make_app(*, confirms: bool, is_current: bool = False) -> Celery:
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
