"""A RabbitMQ and a Redis that live for one measurement, and the fleets that work on them.

Every benchmark that compares takes its servers from here, so that both sides have the
same ones. They are those of the tests: own ports, own folders, append-only Redis.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import redis

from tests.servers import RabbitMQ, Redis, Worker
from tests.servers.process import Process, wait_ready

ROOT = Path(__file__).resolve().parents[1]
PREFORK, SINGLE = "prefork -c 2", "two single-slot"
START_S = 60


@dataclass(frozen=True)
class Servers:
    """The servers of one measurement, and the folder for all that belongs to it."""

    home: Path
    rabbitmq: RabbitMQ
    redis: Redis

    def env(self) -> dict[str, str]:
        return {"BROKER_URL": self.rabbitmq.url(), "REDIS_URL": self.redis.url(1)}

    def forget(self) -> None:
        """Empty Redis, while nobody works on it: each side begins alike."""
        redis.Redis.from_url(self.redis.url()).flushall()

    @contextmanager
    def fleet(self, side: Any, shape: str) -> Iterator[Sequence[Started]]:
        """Run a side's workers in a shape on an empty Redis, and end them with the block."""
        self.forget()
        workers = _workers(side, shape, self.home)
        for worker in workers:
            worker.launch()
        try:
            for worker in workers:
                worker.wait_ready()
            yield workers
        finally:
            for worker in workers:
                worker.stop()


class Started(Protocol):
    """A worker's process with all its children."""

    @property
    def pid(self) -> int: ...
    def launch(self) -> None: ...
    def wait_ready(self) -> None: ...
    def stop(self) -> int: ...


class Fleet:
    """``manage.py worker --pool fleet -c 2``: two single-slot workers, started as a user starts them."""

    def __init__(self, env: dict[str, str], home: Path) -> None:
        command = [sys.executable, str(ROOT / "manage.py"), "worker", "--pool", "fleet", "-c", "2"]
        path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH", "")) if part)
        env = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": path, **env}
        self.process = Process(command, log=home / f"fleet-{secrets.token_hex(4)}.log", env=env)

    @property
    def pid(self) -> int:
        return self.process.pid

    def launch(self) -> None:
        self.process.launch()

    def wait_ready(self) -> None:
        wait_ready(self.process, self._is_ready, what="the fleet", timeout_s=START_S)

    def stop(self) -> int:
        return self.process.stop()

    def _is_ready(self) -> bool:
        return self.process.log.read_text(errors="replace").count(" ready.") == 2


def _workers(side: Any, shape: str, home: Path) -> list[Any]:
    if shape == PREFORK:
        return [Worker(side.env, home=home, app=side.app, pool="prefork", concurrency=2)]
    if side.app == "coordinator.app":
        return [Fleet(side.env, home)]
    # Not the solo pool: with late acks Celery's loop lets an ack lie for up to two seconds
    # (coordinator/solo.py), and 500 steps took 100 s.
    return [Worker(side.env, home=home, app=side.app, pool="threads", concurrency=1) for _ in range(2)]


@contextmanager
def private_servers() -> Iterator[Servers]:
    """Start both servers, end them with the block."""
    with tempfile.TemporaryDirectory(prefix="batuta-bench-") as folder:
        home = Path(folder)
        rabbitmq, redis = RabbitMQ(home / "rabbitmq"), Redis(home / "redis")
        for server in (rabbitmq, redis):
            server.home.mkdir(parents=True, exist_ok=True)
            server.launch()
        try:
            for server in (rabbitmq, redis):
                server.wait_ready()
            yield Servers(home, rabbitmq, redis)
        finally:
            rabbitmq.stop()
            redis.stop()
