"""A coordinator on the test's own services, and the jobs of ``tests.flows``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from coordinator import Coordinator
from tests.conftest import Services
from tests.facade import opened
from tests.servers import Redis


@pytest.fixture
def services(services: Services) -> Services:
    services.env["COORDINATOR_JOBS"] = "tests.flows"
    return services


@pytest.fixture
def coordinator(services: Services) -> Iterator[Coordinator]:
    """A façade in this process, on its own Celery app."""
    with opened(services.env) as facade:
        yield facade


@pytest.fixture
def elsewhere(coordinator: Coordinator) -> Iterator[Callable[..., Coordinator]]:
    """Make façades with other settings."""
    with ExitStack() as stack:
        yield lambda **changed: stack.enter_context(
            opened(dataclasses.replace(coordinator.settings, **changed))
        )


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis that the test may break for good."""
    server = Redis(tmp_path / "own")
    server.start()
    yield server
    server.stop()
