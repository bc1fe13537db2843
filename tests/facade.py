"""A façade in the test's own process, closed with all that it opened; and looks at its jobs and queue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from celery import Celery
from kombu import Queue

from coordinator import Coordinator, Settings
from coordinator.app import make_app
from coordinator.states import StepState, StepStatus


@contextmanager
def opened(where: Settings | Mapping[str, str]) -> Iterator[Coordinator]:
    """Return a façade on a Celery app of its own, for settings or for an environment that says them."""
    app = make_app(where if isinstance(where, Settings) else Settings.from_env(where))
    yield Coordinator.from_settings(app.parts.settings, app)
    app.parts.dispatcher.close()
    app.parts.state.client.close()
    close(app)


def running(coordinator: Coordinator, job: str) -> list[StepStatus]:
    """Return the steps of a job that run now."""
    return [step for step in coordinator.steps(job) if step.state == StepState.RUNNING]


@contextmanager
def queue_of(coordinator: Coordinator) -> Iterator[Queue]:
    """Give the queue that the steps go to, to look into or to lose messages from."""
    with coordinator.app.connection_for_write() as connection:
        yield coordinator.app.amqp.queues[coordinator.settings.queue](connection.default_channel)


def close(app: Celery) -> None:
    """Close an application with the connections in its pool, which Celery's own ``close`` leaves open."""
    app.pool.resize(app.pool.limit, reset=True)  # still of use: applications of one broker share it
    app.close()
