"""Fixtures of every floor: private servers, workers, and the environment that names them.

RabbitMQ needs seconds to boot, so what the collected tests will need is launched
at the end of collection and boots while the first tests run. A missing server
skips its tests locally and fails them where ``CI=true``.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.servers import MissingServer, RabbitMQ, Redis, RedisCluster, Worker

BROKER_KINDS = ("rabbitmq", "redis")
FLOORS = ("unit", "integration", "acceptance", "faults", "deploy")
TESTS = Path(__file__).parent
LOGS: pytest.StashKey[list[Path]] = pytest.StashKey()
SERVERS: pytest.StashKey[Servers] = pytest.StashKey()


@dataclass(frozen=True)
class Services:
    """The broker and the Redis that one test talks to, and the environment that says so."""

    kind: str  # which broker: rabbitmq or redis
    broker_url: str
    redis_url: str
    env: dict[str, str] = field(repr=False)


class Servers:
    """The session's servers, launched once each and ended with the session."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="batuta-tests-")
        self._classes: dict[str, Callable[[Path], Any]] = {
            "rabbitmq": RabbitMQ,
            "redis": Redis,
            "cluster": RedisCluster,
        }
        self._launched: dict[str, Any] = {}

    def launch(self, name: str) -> Any:
        """Start without waiting; again a no-op.

        Raises:
            MissingServer: it is not installed.
        """
        if name not in self._launched:
            home = Path(self._folder.name) / name
            home.mkdir(exist_ok=True)
            server = self._classes[name](home)
            server.launch()
            self._launched[name] = server
        return self._launched[name]

    def stop(self) -> None:
        for server in self._launched.values():
            server.stop()
        self._folder.cleanup()


# ---------------------------------------------------------------- hooks
def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("batuta")
    group.addoption("--broker", choices=BROKER_KINDS, help="this broker only (default: each in turn)")
    group.addoption("--cluster", action="store_true", help="keep the jobs in a Redis Cluster of three nodes")
    group.addoption("--canvases", type=int, default=25, help="conformance: how many random canvases")
    group.addoption("--every-point", action="store_true", help="faults: every crash point, not a sample")
    group.addoption("--storm-jobs", type=int, help="faults: jobs of a storm (40; 1000 with --every-point)")
    group.addoption("--results", help="faults: keep what came of each crash point here, and resume from it")
    group.addoption("--minutes", type=float, default=600, help="faults: begin no crash point after that")
    group.addoption(
        "--containers", action="store_true", help="acceptance: pytest-celery's container nodes, not processes"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "services" in metafunc.fixturenames:
        only = metafunc.config.getoption("--broker")
        marker = metafunc.definition.get_closest_marker("brokers")
        kinds = [kind for kind in (marker.args if marker else BROKER_KINDS) if only in (None, kind)]
        metafunc.parametrize("services", kinds, indirect=True, scope="function")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        floor = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        if floor in FLOORS:
            item.add_marker(floor)


def pytest_collection_finish(session: pytest.Session) -> None:
    servers = session.config.stash[SERVERS] = Servers()
    if session.config.option.collectonly or session.config.getoption("--containers"):
        return
    for name in sorted(set().union(*(_needs(item) for item in session.items))):
        try:
            servers.launch(name)
        except MissingServer:
            pass  # its fixture says so, for each test that asks for it


def pytest_sessionfinish(session: pytest.Session) -> None:
    servers = session.config.stash.get(SERVERS, None)
    if servers is not None:
        servers.stop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Add the end of the test's worker logs to the report of a failure."""
    report = (yield).get_result()
    if report.failed:
        for log in item.stash.get(LOGS, []):
            text = log.read_text(errors="replace") if log.exists() else "(no log)"
            report.sections.append((f"log of {log.name}", "\n".join(text.splitlines()[-150:])))


def _needs(item: pytest.Item) -> set[str]:
    names = set(getattr(item, "fixturenames", ()))
    params = getattr(getattr(item, "callspec", None), "params", {})
    needed = {"redis"} if names & {"redis_server", "services"} else set()
    in_cluster = item.config.getoption("--cluster") or item.get_closest_marker("cluster")
    if "redis_cluster" in names or (in_cluster and "services" in names):
        needed.add("cluster")
    if "rabbitmq" in names or params.get("services") == "rabbitmq":
        needed.add("rabbitmq")
    return needed


# ---------------------------------------------------------------- servers
@pytest.fixture(scope="session")
def rabbitmq(request: pytest.FixtureRequest) -> RabbitMQ:
    """The session's private RabbitMQ node; whoever stops it starts it again."""
    return _ready(request, "rabbitmq")


@pytest.fixture(scope="session")
def redis_server(request: pytest.FixtureRequest) -> Redis:
    """The session's private Redis; whoever stops it starts it again."""
    return _ready(request, "redis")


@pytest.fixture(scope="session")
def redis_cluster(request: pytest.FixtureRequest) -> RedisCluster:
    """The session's private Redis Cluster: three primaries without replicas."""
    return _ready(request, "cluster")


def _ready(request: pytest.FixtureRequest, name: str) -> Any:
    try:
        server = request.config.stash[SERVERS].launch(name)
    except MissingServer as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    server.wait_ready()
    return server


@pytest.fixture
def services(request: pytest.FixtureRequest, redis_server: Redis) -> Services:
    """A broker and a Redis, once for each kind of broker; queue and key prefix are this test's own."""
    kind = request.param
    broker_url = request.getfixturevalue("rabbitmq").url() if kind == "rabbitmq" else redis_server.url(0)
    in_cluster = request.config.getoption("--cluster") or request.node.get_closest_marker("cluster")
    state = request.getfixturevalue("redis_cluster") if in_cluster else redis_server
    return make_services(kind, broker_url, state.url(1))


def make_services(kind: str, broker_url: str, redis_url: str) -> Services:
    """Return the addresses, with a queue and a key prefix that no other test has."""
    name = f"t{secrets.token_hex(4)}"
    env = {
        "BROKER_URL": broker_url,
        "REDIS_URL": redis_url,
        "COORDINATOR_QUEUE": name,
        "COORDINATOR_PREFIX": name,
        # Short, so that a test that waits for recovery waits little.
        "COORDINATOR_LEASE_S": "2",
        "COORDINATOR_TICK_S": "0.2",
        "COORDINATOR_QUIET_S": "1",
    }
    return Services(kind, broker_url, redis_url, env)


@pytest.fixture
def start_worker(
    request: pytest.FixtureRequest, services: Services, tmp_path: Path
) -> Iterator[Callable[..., Worker]]:
    """Start workers on ``services``, all ended with the test: ``start_worker(concurrency=2, env={…})``."""
    logs = request.node.stash.setdefault(LOGS, [])
    workers: list[Worker] = []

    def start(*, env: dict[str, str] | None = None, **options: Any) -> Worker:
        worker = Worker({**services.env, **(env or {})}, home=tmp_path, **options)
        workers.append(worker)
        logs.append(worker.log)
        return worker.start()

    yield start
    for worker in workers:
        worker.kill()  # its queue is this test's own: there is nothing to finish
