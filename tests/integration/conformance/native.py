"""A plain Celery application with the stock backend: the side that ``launch`` is compared with."""

from __future__ import annotations

import os
from collections.abc import Mapping

from celery import Celery

app = Celery("native", set_as_current=False)


def configure(application: Celery, env: Mapping[str, str]) -> None:
    """Point the application at the servers of an environment."""
    application.conf.update(
        broker_url=env.get("BROKER_URL"),
        result_backend=env.get("REDIS_URL"),
        task_default_queue=env.get("NATIVE_QUEUE", "native"),
        task_queue_max_priority=10,
        task_create_missing_queues=True,
        worker_prefetch_multiplier=1,
        result_expires=600,
        include=["tests.integration.conformance.tasks"],
        broker_connection_retry_on_startup=True,
    )


configure(app, os.environ)
