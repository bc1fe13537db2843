"""A RabbitMQ and a Redis that live for one measurement, and the fleets that work on them.

Every benchmark that compares takes its servers from here, so that both sides have the
same ones. They are those of the tests: own ports, own folders, append-only Redis.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import RabbitMQ, Redis, Worker

SHAPES = {
    "prefork -c 2": [{"pool": "prefork", "concurrency": 2}],
    "two solo": [{"pool": "solo", "concurrency": 1}] * 2,
}


@dataclass(frozen=True)
class Servers:
    """The servers of one measurement, and the folder for all that belongs to it."""

    home: Path
    rabbitmq: RabbitMQ
    redis: Redis

    def env(self) -> dict[str, str]:
        return {"BROKER_URL": self.rabbitmq.url(), "REDIS_URL": self.redis.url(1)}


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


@contextmanager
def fleet(app: str, shape: str, home: Path, env: dict[str, str]) -> Iterator[Sequence[Worker]]:
    """Run the workers of an app in one of ``SHAPES``, and end them with the block."""
    workers = [Worker({**os.environ, **env}, home=home, app=app, **kind) for kind in SHAPES[shape]]
    for worker in workers:
        worker.launch()
    try:
        for worker in workers:
            worker.wait_ready()
        yield workers
    finally:
        for worker in workers:
            worker.stop()
