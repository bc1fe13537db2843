"""The composition root: the Celery application, and the one module that knows everyone.

``celery -A coordinator.app worker`` and ``… flower`` use ``app``; tasks defined on
it with ``@app.task`` are steps without more ado. The modules in
``COORDINATOR_JOBS`` are imported by the worker, and by ``Coordinator``.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from coordinator import builtin, logs, redis_transport, registry, tracing
from coordinator.adoption import adopt_later_tasks
from coordinator.limits import is_expendable
from coordinator.parts import Parts
from coordinator.reconciler import ReconcilerStep
from coordinator.settings import Settings, is_cluster
from coordinator.solo import PromptAcks

#: What the guarantees rest on; a celeryconfig.py can tune the rest.
DURABLE = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_acks_on_failure_or_timeout": True,
    "task_serializer": "json",
    "result_serializer": "json",
    "accept_content": ["json"],
    "result_accept_content": ["json"],
    "task_create_missing_queues": True,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_channel_error_retry": True,  # consumer_timeout closes the channel, which would end the worker
}

#: Celery's own, and one that gives Flower the Jobs tab where it is Flower that runs: named, not imported.
FIXUPS = {*Celery.builtin_fixups, "coordinator.dashboard:FlowerTab"}


def make_app(settings: Settings) -> Celery:
    """Return a Celery application on which every task is a durable step."""
    redis_transport.install()
    logs.install()
    tracing.install()
    app = Celery(
        "batuta",
        task_cls="coordinator.step:Step",
        events="coordinator.events:GatheredEvents",
        set_as_current=True,
        fixups=FIXUPS,
    )
    tuned = _tuned()
    app.conf.update({**_defaults(settings), **tuned, **DURABLE})
    if settings.broker_url:
        app.conf.broker_url = settings.broker_url
        app.conf.result_backend = _backend(settings.redis_url)
    app.parts = Parts(app, settings)
    app.steps["worker"].add(ReconcilerStep)
    app.steps["consumer"].add(PromptAcks)
    adopt_later_tasks(app)
    builtin.register(app)
    app.conf.include = registry.found(settings.jobs)
    return app


def load_jobs(settings: Settings) -> None:
    """Import the modules that register kinds.

    Raises:
        SettingsError: a module of COORDINATOR_JOBS can't be imported.
    """
    registry.load(settings.jobs)


def _backend(url: str) -> str:
    # Celery reads a URL with one host only: the cluster's backend finds its own in the settings.
    if is_cluster(url):
        return "coordinator.backend:ClusterBackend"
    return f"coordinator.backend:JournalBackend+{url}"


def _defaults(settings: Settings) -> dict[str, Any]:
    arguments: dict[str, Any] = (
        {"x-queue-type": "quorum"} if settings.queue_type == "quorum" else {"x-max-priority": 10}
    )
    is_amqp = settings.broker_url.startswith(("amqp", "pyamqp"))
    exchange = Exchange(settings.queue, type="direct")
    return {
        "task_default_queue": settings.queue,
        "task_default_exchange": settings.queue,
        "task_default_routing_key": settings.queue,
        "task_queues": [
            Queue(settings.queue, exchange, settings.queue, queue_arguments=arguments if is_amqp else None)
        ],
        "task_default_queue_type": settings.queue_type,
        "task_queue_max_priority": 10 if settings.queue_type == "classic" and is_amqp else None,
        "broker_transport_options": {"confirm_publish": True} if is_amqp else {},
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,
        "result_expires": settings.retention_s,
        "worker_hijack_root_logger": True,
        "timezone": "UTC",
        # A solo worker can't send heartbeats while a step runs; its leases tell that it lives.
        **({"broker_heartbeat": 0} if is_expendable() else {}),
    }


def _tuned() -> dict[str, Any]:
    """Return the settings of a ``celeryconfig.py``, where one can be imported."""
    if importlib.util.find_spec("celeryconfig") is None:
        return {}
    module = importlib.import_module("celeryconfig")
    return {
        name: value for name, value in vars(module).items() if name.islower() and not name.startswith("_")
    }


app = make_app(Settings.from_env())
