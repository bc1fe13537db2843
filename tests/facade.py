"""A façade in the test's own process, closed with all that it opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from celery import Celery

from coordinator import Coordinator, Settings
from coordinator.app import make_app


@contextmanager
def opened(where: Settings | Mapping[str, str]) -> Iterator[Coordinator]:
    """Return a façade on a Celery app of its own, for settings or for an environment that says them."""
    app = make_app(where if isinstance(where, Settings) else Settings.from_env(where))
    yield Coordinator.from_settings(app.parts.settings, app)
    app.parts.dispatcher.close()
    app.parts.state.client.close()
    close(app)


def close(app: Celery) -> None:
    """Close an application with the connections in its pool, which Celery's own ``close`` leaves open."""
    app.pool.resize(app.pool.limit, reset=True)  # still of use: applications of one broker share it
    app.close()
