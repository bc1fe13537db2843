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
from celery.utils.imports import symbol_by_name

from coordinator import builtin, parts, redis_transport, tracing
from coordinator.adoption import adopt_all, adopt_later_tasks
from coordinator.backend import Journal
from coordinator.errors import SettingsError
from coordinator.reconciler import ReconcilerStep
from coordinator.settings import STATE_SCHEMES, Settings, redacted
from coordinator.solo import PromptAcks


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
    adopt_later_tasks(app)
    _keep_journal(app)
    builtin.register(app)
    symbol_by_name("coordinator.dashboard:FlowerTab")(app)  # where it is Flower that runs
    app.on_after_finalize.connect(lambda **_: adopt_all(app), weak=False)
    if app.finalized:
        adopt_all(app)
    app.conf.include = [*(app.conf.include or ()), *settings.jobs]
    return app


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
    backend = _plain(app.conf.result_backend)
    redis_url = os.environ.get("REDIS_URL", "").strip() or backend
    if app.conf.task_always_eager and not redis_url.startswith("redis"):
        return Settings(jobs=())  # a test's: its tasks run where they are called, and there is no job
    if not redis_url.startswith(tuple(f"{scheme}://" for scheme in STATE_SCHEMES)):
        raise SettingsError(
            "REDIS_URL: expected a redis:// URL, found none, nor in result_backend, which is "
            f"{redacted(backend)!r}; jobs are kept in Redis: set REDIS_URL, or pass settings"
        )
    env = {
        **os.environ,
        "BROKER_URL": _plain(app.conf.broker_read_url or app.conf.broker_url or "amqp://"),
        "REDIS_URL": redis_url,
        "COORDINATOR_QUEUE": app.conf.task_default_queue,
    }
    found = Settings.from_env(env)
    return found if os.environ.get("COORDINATOR_JOBS") else replace(found, jobs=())


def _plain(url: Any) -> str:
    """Return a URL of Celery's as ours are written."""
    return str(url or "").removeprefix("py")  # pyamqp://
