"""pytest-celery on plain processes; with ``--containers``, on its own containers (``containers.py``).

``celery_setup`` runs each test on RabbitMQ and Redis, and on Redis alone. Its app
is a coordinator's, its workers are real processes that know the jobs of
``job_modules``. Override ``worker_count`` or ``job_modules`` for more or others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from pytest_celery import (
    CeleryBackendCluster,
    CeleryBrokerCluster,
    CeleryTestBackend,
    CeleryTestBroker,
    CeleryWorkerCluster,
)

from coordinator import Coordinator, Settings
from tests.acceptance.containers import (  # noqa: F401  fixtures
    default_rabbitmq_broker_ports,
    default_redis_backend_command,
    default_redis_backend_ports,
    default_redis_broker_command,
    default_redis_broker_ports,
    host_url,
    start_container,
    worker_image,
)
from tests.acceptance.nodes import ProcessWorker, ServerContainer, WorkerContainer
from tests.conftest import Services, make_services
from tests.facade import opened

# The ping that celery_setup.ready(ping=True) sends.
PING_MODULE = "pytest_celery.vendors.worker.tasks"


@pytest.fixture
def services(request: pytest.FixtureRequest) -> Services:
    """The addresses of this test's broker and Redis: private processes, or containers."""
    kind = request.param
    if request.config.getoption("--containers"):
        request.getfixturevalue("worker_image")  # or it is skipped, with the reason
        broker = request.getfixturevalue(f"celery_{kind}_broker")
        backend = request.getfixturevalue("celery_redis_backend")
        return make_services(kind, host_url(broker.container), host_url(backend.container))
    redis = request.getfixturevalue("redis_server")
    broker_url = request.getfixturevalue("rabbitmq").url() if kind == "rabbitmq" else redis.url(0)
    return make_services(kind, broker_url, redis.url(1))


@pytest.fixture
def job_modules() -> tuple[str, ...]:
    """The modules whose jobs the workers know."""
    return ("tests.flows",)


@pytest.fixture
def worker_count() -> int:
    """How many workers the setup has."""
    return 1


@pytest.fixture
def settings(services: Services, job_modules: tuple[str, ...]) -> Settings:
    """The settings of the test's coordinator and of its workers."""
    services.env["COORDINATOR_JOBS"] = ",".join((*job_modules, PING_MODULE))
    return Settings.from_env(services.env)


@pytest.fixture
def celery_broker_cluster(
    request: pytest.FixtureRequest, services: Services
) -> Iterator[CeleryBrokerCluster]:
    """One broker node, of the kind that the test runs on."""
    if request.config.getoption("--containers"):
        node = request.getfixturevalue(f"celery_{services.kind}_broker")
    else:
        name = "rabbitmq" if services.kind == "rabbitmq" else "redis_server"
        node = CeleryTestBroker(ServerContainer(request.getfixturevalue(name), services.broker_url))
    yield CeleryBrokerCluster(node)
    node.teardown()


@pytest.fixture
def celery_backend_cluster(
    request: pytest.FixtureRequest, services: Services
) -> Iterator[CeleryBackendCluster]:
    """One Redis node."""
    if request.config.getoption("--containers"):
        node = request.getfixturevalue("celery_redis_backend")
    else:
        server = request.getfixturevalue("redis_server")
        node = CeleryTestBackend(ServerContainer(server, services.redis_url))
    yield CeleryBackendCluster(node)
    node.teardown()


@pytest.fixture
def celery_worker_cluster(
    request: pytest.FixtureRequest, settings: Settings, worker_count: int
) -> CeleryWorkerCluster:
    """``worker_count`` workers of two processes each."""
    if request.config.getoption("--containers"):
        start_container = request.getfixturevalue("start_container")
        return CeleryWorkerCluster(*(start_container() for _ in range(worker_count)))
    start_worker = request.getfixturevalue("start_worker")
    containers = [WorkerContainer(start_worker(), settings.queue) for _ in range(worker_count)]
    return CeleryWorkerCluster(*(ProcessWorker(container, app=None) for container in containers))


@pytest.fixture
def celery_setup_app(settings: Settings) -> Iterator[Celery]:
    """The app that the test publishes with: the coordinator's."""
    with opened(settings) as facade:
        yield facade.app


@pytest.fixture
def coordinator(celery_setup: Any, settings: Settings) -> Coordinator:
    """The façade on the test's setup."""
    return Coordinator.from_settings(settings, celery_setup.app)
