"""With ``--containers``: pytest-celery's stock container nodes, and a worker's container for them.

RabbitMQ and Redis are its own containers, at ports that a restart keeps, and with a Redis that
writes down what it is told: both are killed and started again by tests. The worker's image is
the Dockerfile's, with this checkout mounted; its node is pytest-celery's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pytest_celery import CeleryBackendCluster, CeleryTestWorker, CeleryWorkerContainer, RedisContainer

from coordinator import Settings
from tests.conftest import Services
from tests.deploy.images import build, build_batuta, require_engine, require_images
from tests.deploy.stack import ROOT
from tests.servers import free_port
from tests.waiting import wait_until

IMAGE = "batuta-acceptance"
START_TIMEOUT_S = 60


class WorkerContainer(CeleryWorkerContainer):
    """pytest-celery's container of a worker, on the queue of its test."""

    def __init__(self, container: Any, queue: str) -> None:
        super().__init__(container)
        self._queue = queue

    def worker_queue(self) -> str:
        return self._queue


@pytest.fixture(scope="session")
def worker_image() -> str:
    """The image of workers that know pytest-celery's own task."""
    require_engine()
    require_images(["rabbitmq:latest", "redis:latest"])
    build_batuta()
    build(IMAGE, ROOT / "tests/acceptance", "--file", str(ROOT / "tests/acceptance/worker.Dockerfile"))
    return IMAGE


@pytest.fixture
def default_rabbitmq_broker_ports() -> dict[str, int]:
    """A port of this machine that stays the same over a restart."""
    return {"5672/tcp": free_port()}


@pytest.fixture
def default_redis_backend_ports() -> dict[str, int]:
    """A port of this machine that stays the same over a restart."""
    return {"6379/tcp": free_port()}


@pytest.fixture
def default_redis_broker_ports() -> dict[str, int]:
    """A port of this machine that stays the same over a restart."""
    return {"6379/tcp": free_port()}


@pytest.fixture
def default_redis_backend_command() -> list[str]:
    """A Redis that remembers over a restart."""
    return RedisContainer.command("--appendonly", "yes")


@pytest.fixture
def default_redis_broker_command() -> list[str]:
    """A Redis that remembers over a restart."""
    return RedisContainer.command("--appendonly", "yes")


@pytest.fixture
def start_container(
    worker_image: str,
    docker_client: Any,
    default_pytest_celery_network: Any,
    services: Services,
    settings: Settings,
    celery_broker_cluster: Any,
    celery_backend_cluster: CeleryBackendCluster,
    tmp_path: Path,
) -> Iterator[Callable[[], CeleryTestWorker]]:
    """Start workers in containers, beside the containers of their broker and Redis; removed with the test."""
    inside = {
        **services.env,
        "BROKER_URL": celery_broker_cluster[0].config()["url"],
        "REDIS_URL": celery_backend_cluster[0].config()["url"],
        "PYTHONPATH": "/src",
    }
    started: list[Any] = []

    def start() -> CeleryTestWorker:
        raw = docker_client.containers.run(
            worker_image,
            _command(services.env),
            environment=inside,
            network=default_pytest_celery_network.name,
            volumes={
                str(ROOT): {"bind": "/src", "mode": "ro"},
                str(tmp_path): {"bind": str(tmp_path), "mode": "rw"},
            },
            detach=True,
        )
        started.append(raw)
        container = WorkerContainer(raw, settings.queue)
        wait_until(container.ready, timeout_s=START_TIMEOUT_S, what="the worker's container", pause_s=0.2)
        return CeleryTestWorker(container, app=None)

    yield start
    for raw in started:
        raw.remove(force=True)


def host_url(container: Any) -> str:
    """Return where this machine reaches a server's container: by its published port."""
    # Its own host_url is another where /.dockerenv is: there it takes this machine for its neighbour.
    published = next(ports for ports in container.ports.values() if ports)
    return f"{container.prefix()}127.0.0.1:{published[0]}/{container.vhost}"


def _command(env: Mapping[str, str]) -> list[str]:
    name = f"{CeleryWorkerContainer.worker_name()}@%h"
    words = ["celery", "-A", "coordinator.app", "worker", "-c", "2", "-n", name, "--loglevel", "INFO"]
    return [*words, "--without-mingle", "--without-gossip", "-Q", env["COORDINATOR_QUEUE"]]
