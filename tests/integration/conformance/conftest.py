"""Two sides: a plain Celery application, and a coordinator, each with a worker, on the same servers."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from celery import Celery, current_app
from celery._state import _set_current_app

from coordinator import Coordinator
from tests.facade import close, opened
from tests.servers import Worker

SEED = int(os.environ.get("CANVAS_SEED") or random.randrange(10**6))
TASKS = "tests.integration.conformance.tasks"
TABLE: list[tuple[str, str, str]] = []  # part of the guide, shape, verdict
TRIED: dict[str, int] = {}
HUNG: list[str] = []  # random canvases that ended as a job and not in Celery


@dataclass(frozen=True)
class Sides:
    """What runs a canvas natively, and what runs it as a job."""

    native: Celery
    coordinator: Coordinator


@pytest.fixture(scope="module")
def sides(request: Any, rabbitmq: Any, redis_server: Any, tmp_path_factory: Any) -> Iterator[Sides]:
    """A worker of each side; the native application is the current one, so that canvases bind to it."""
    if request.config.getoption("--broker") == "redis":
        pytest.skip("the conformance suite compares on RabbitMQ")
    from tests.integration.conformance import native

    name = f"c{secrets.token_hex(4)}"
    env = {
        "BROKER_URL": rabbitmq.url(),
        "REDIS_URL": redis_server.url(2),
        "NATIVE_QUEUE": f"{name}n",
        "COORDINATOR_QUEUE": name,
        "COORDINATOR_PREFIX": name,
        "COORDINATOR_JOBS": TASKS,
        "COORDINATOR_TICK_S": "0.2",
    }
    home = tmp_path_factory.mktemp("conformance")
    workers = [
        Worker(
            env, home=home, app="tests.integration.conformance.native", queues=[f"{name}n", f"{name}n-side"]
        ),
        Worker({**env, "REDIS_URL": redis_server.url(1)}, home=home, queues=[name, f"{name}-side"]),
    ]
    for worker in workers:
        worker.launch()
    native.configure(native.app, env)
    before = current_app._get_current_object()
    with opened({**env, "REDIS_URL": redis_server.url(1)}) as coordinator:
        _set_current_app(native.app)
        for worker in workers:
            worker.wait_ready()
        yield Sides(native.app, coordinator)
        _set_current_app(before)
    forget_pending(native.app)
    close(native.app)
    for worker in workers:
        worker.kill()


def forget_pending(app: Celery) -> None:
    """Unsubscribe from what Celery never ended: its results would do so as they go, when Redis is no more."""
    consumer = app.backend.result_consumer
    consumer.stop()
    consumer.subscribed_to.clear()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table: which shapes gave the same, and how many random canvases."""
    if not TABLE and not TRIED:
        return
    terminalreporter.section("canvas conformance: Celery's value = the job's value")
    for part, shape, verdict in TABLE:
        terminalreporter.write_line(f"{part:<16}{shape:<52}{verdict}")
    same = sum(verdict == "=" for _, _, verdict in TABLE)
    terminalreporter.write_line(f"{same} of {len(TABLE)} shapes the same, the others as declared")
    for hung in HUNG:
        terminalreporter.write_line(
            f"ended as a job, and not in Celery: {hung.replace(TASKS + '.', '')[:140]}"
        )
    for what, number in TRIED.items():
        terminalreporter.write_line(f"{number} {what} (CANVAS_SEED={SEED})")
