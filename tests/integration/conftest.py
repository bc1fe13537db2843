"""A coordinator on the test's own services, and the jobs of ``tests.flows``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from coordinator import Coordinator, Settings
from coordinator.app import make_app
from tests.conftest import Services


@pytest.fixture
def services(services: Services) -> Services:
    services.env["COORDINATOR_JOBS"] = "tests.flows"
    return services


@pytest.fixture
def coordinator(services: Services) -> Iterator[Coordinator]:
    """A façade in this process, on its own Celery app."""
    app = make_app(Settings.from_env(services.env))
    yield Coordinator.from_settings(app.parts.settings, app)
    app.parts.state.client.close()
    app.parts.dispatcher.close()
    app.close()
