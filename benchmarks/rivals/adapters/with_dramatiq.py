"""dramatiq on RabbitMQ with confirms, results in Redis; a pipeline, and a group that the submitter joins."""

from __future__ import annotations

import os

import dramatiq
from dramatiq import group, pipeline
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

URL = os.environ["BROKER_URL"].removesuffix("/") + "%2F"  # pika has another word for the host / than kombu
broker = RabbitmqBroker(url=URL, confirm_delivery=True)
broker.add_middleware(Results(backend=RedisBackend(url=os.environ["REDIS_URL"])))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def noop(n: int) -> int:
    return n


@dramatiq.actor(store_results=True)
def hop(n: int) -> int:
    return n + 1


class Side:
    def chain(self, length: int) -> None:
        work = pipeline([hop.message(0), *[hop.message() for _ in range(length - 1)]]).run()
        assert work.get_result(block=True, timeout=600_000) == length

    def fan(self, size: int) -> None:
        work = group([noop.message(n) for n in range(size)]).run()
        assert len(list(work.get_results(block=True, timeout=600_000))) == size

    def submit(self) -> None:
        noop.send(1)
