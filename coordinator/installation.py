"""``install``: make the tasks of an existing Celery application steps, without a changed line.

Owns what is added to an application that is not ours. Invariant: a message without
our header is taken, run, acknowledged and answered as it was before; only steps get
late acks, leases and the journal. Tasks keep their class: one that was defined before,
or is after, with Celery's own ``Task`` or with another base, gets ``Step`` in front.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from celery import Celery
from celery.app.task import Task
from celery.utils.imports import symbol_by_name
from celery.utils.objects import mro_lookup
from celery.worker.request import Request

from coordinator import builtin, parts, redis_transport, tracing
from coordinator.backend import Journal
from coordinator.errors import SettingsError
from coordinator.reconciler import ReconcilerStep
from coordinator.settings import STATE_SCHEMES, Settings, redacted
from coordinator.solo import PromptAcks
from coordinator.step import Step, StepRequest

#: What stays as the task had it: these say how messages that belong to no job are treated.
_KEPT = (
    "abstract",
    "acks_late",
    "reject_on_worker_lost",
    "acks_on_failure_or_timeout",
    "store_errors_even_if_ignored",
)
#: Where a task's ``__call__`` is Celery's own: as written, and as a worker replaces it at its start.
CELERYS_CALL = ("celery.app.task", "celery.app.trace")


def install(app: Celery, settings: Settings | None = None) -> Celery:
    """Let the tasks of an application run as steps of jobs; calling it again changes nothing.

    Args:
        app: the project's own application, on which workers and callers run.
        settings: where the state is; by default REDIS_URL, or else the application's own result backend
            where that is Redis. The broker and the default queue are always the application's.

    Returns:
        the application.

    Raises:
        SettingsError: there is no Redis, or the application does not accept JSON.
    """
    if hasattr(app, "parts"):
        return app
    settings = settings or _settings_of(app)
    if not {"json", "application/json"} & set(app.conf.accept_content):
        raise SettingsError(
            f"accept_content: expected json in it, got {app.conf.accept_content!r}; steps are sent as JSON"
        )
    redis_transport.install()
    tracing.install()
    app.parts = parts.Parts(app, settings)
    parts.installed = app
    app.steps["worker"].add(ReconcilerStep)
    app.steps["consumer"].add(PromptAcks)
    _adopt_later_tasks(app)
    _keep_journal(app)
    builtin.register(app)
    app.on_after_finalize.connect(lambda **_: _adopt_all(app), weak=False)
    if app.finalized:
        _adopt_all(app)
    app.conf.include = [*(app.conf.include or ()), *settings.jobs]
    return app


def adopted(task: Any) -> Any:
    """Return a task that is a step where its message says so."""
    if not isinstance(task, Step):
        task.__class__ = _class_of(type(task))
    return task


def _class_of(own: Any) -> type:
    kept = {name: getattr(own, name) for name in _KEPT if hasattr(own, name)}
    request = symbol_by_name(getattr(own, "Request", Request))
    base = StepRequest if issubclass(StepRequest, request) else type("Request", (StepRequest, request), {})
    if mro_lookup(own, "__call__", stop={Task, object}, monkey_patched=CELERYS_CALL):
        kept["body"] = own.__call__  # a class that calls its tasks in its own way goes on doing so
    return type(
        own.__name__,
        (Step, own),
        {**kept, "Request": base, "own_strategy": own.Strategy, "__module__": own.__module__},
    )


def _adopt_all(app: Celery) -> None:
    for task in list(app.tasks.values()):
        adopted(task)


def _adopt_later_tasks(app: Celery) -> None:
    """Adopt the tasks that are defined once the application is complete."""
    make, register = app._task_from_fun, app.register_task
    app._task_from_fun = lambda *args, **options: adopted(make(*args, **options))
    app.register_task = lambda *args, **options: adopted(register(*args, **options))


def _keep_journal(app: Celery) -> None:
    """Let the application's own backend, whichever it is, leave steps to the journal."""
    make = app._get_backend

    def make_journal() -> Any:
        backend = make()
        if not isinstance(backend, Journal):
            own = type(backend)
            backend.__class__ = type(own.__name__, (Journal, own), {"__module__": own.__module__})
        return backend

    app._get_backend = make_journal


def _settings_of(app: Celery) -> Settings:
    backend = str(app.conf.result_backend or "")
    redis_url = os.environ.get("REDIS_URL", "").strip() or backend
    if not redis_url.startswith(tuple(f"{scheme}://" for scheme in STATE_SCHEMES)):
        raise SettingsError(
            "REDIS_URL: expected a redis:// URL, found none, nor in result_backend, which is "
            f"{redacted(backend)!r}; jobs are kept in Redis: set REDIS_URL, or pass settings"
        )
    env = {
        **os.environ,
        "BROKER_URL": str(app.conf.broker_read_url or app.conf.broker_url),
        "REDIS_URL": redis_url,
        "COORDINATOR_QUEUE": app.conf.task_default_queue,
    }
    found = Settings.from_env(env)
    return found if os.environ.get("COORDINATOR_JOBS") else replace(found, jobs=())
