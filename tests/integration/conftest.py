"""A coordinator on the test's own services, and the jobs of ``tests.flows``."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from coordinator import Coordinator, Settings
from coordinator.web import WebSettings, create_app
from coordinator.web.tokens import SCOPES, new_token
from tests.conftest import Services
from tests.facade import opened
from tests.integration.by_hand import Hand
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
def hand(redis_server: Redis) -> Callable[..., Hand]:
    """Make a job of a canvas, and of a phase if not work, to be driven by hand."""
    env = {
        "BROKER_URL": redis_server.url(0),
        "REDIS_URL": redis_server.url(1),
        "COORDINATOR_PREFIX": f"h{secrets.token_hex(4)}",
    }
    return lambda canvas, *phase: Hand(Settings.from_env(env), canvas, *phase)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis that the test may break for good."""
    server = Redis(tmp_path / "own")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def token() -> tuple[str, Any]:
    """A secret that may do all, and what is known of it."""
    return new_token("tester", SCOPES)


@pytest.fixture
def web(coordinator: Coordinator, token: tuple[str, Any]) -> Callable[..., FlaskClient]:
    """Make a client of an application with the settings given, with a token that may do all."""

    def make(facade: Coordinator = coordinator, **settings: Any) -> FlaskClient:
        app = create_app(facade, WebSettings(**{"tokens": (token[1],), **settings}))
        client = app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token[0]}"
        return client

    return make
