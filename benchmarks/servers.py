"""A RabbitMQ and a Redis that live for one measurement, and the fleets that work on them.

Every benchmark that compares takes its servers from here, so that both sides have the
same ones. They are those of the tests: own ports, own folders, append-only Redis.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from tests.servers import Fleet, RabbitMQ, Redis, Worker, running

PREFORK, SINGLE = "prefork -c 2", "two single-slot"


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
    def fleet(self, side: Any, shape: str) -> Iterator[Sequence[Worker | Fleet]]:
        """Run a side's workers in a shape on an empty Redis, and end them with the block."""
        self.forget()
        with running(_workers(side, shape, self.home)) as workers:
            yield workers


def _workers(side: Any, shape: str, home: Path) -> Sequence[Worker | Fleet]:
    if shape == PREFORK:
        return [Worker(side.env, home=home, app=side.app, pool="prefork", concurrency=2)]
    if side.app == "coordinator.app":
        return [Fleet(side.env, home=home)]
    # Not the solo pool: with late acks Celery's loop lets an ack lie for up to two seconds
    # (coordinator/solo.py), and 500 steps took 100 s.
    return [Worker(side.env, home=home, app=side.app, pool="threads", concurrency=1) for _ in range(2)]


@contextmanager
def private_servers() -> Iterator[Servers]:
    """Start both servers, end them with the block."""
    with tempfile.TemporaryDirectory(prefix="batuta-bench-") as folder:
        home = Path(folder)
        rabbitmq, redis = RabbitMQ(home / "rabbitmq"), Redis(home / "redis")
        with running((rabbitmq, redis)):
            yield Servers(home, rabbitmq, redis)
