"""Plain Celery: late acks, reject on worker lost, publisher confirms; waits on the result's key."""

from __future__ import annotations

import time
from typing import Any

from celery import chain, chord

from benchmarks.noop_tasks import count, hop, noop
from benchmarks.plain_app import app  # noqa: F401  the current application from now on


def wait_for_key(result: Any) -> Any:
    """Look at the result's key until it is there: the cheapest way to wait that Celery has."""
    key = result.backend.get_key_for_task(result.id)
    while not result.backend.client.exists(key):
        time.sleep(0.001)
    return result.backend.get_result(result.id)


class Side:
    def chain(self, length: int) -> None:
        canvas = chain(hop.s(0), *[hop.s() for _ in range(length - 1)])
        assert wait_for_key(canvas.apply_async()) == length

    def fan(self, size: int) -> None:
        canvas = chord([noop.s(n) for n in range(size)], count.s())
        assert wait_for_key(canvas.apply_async()) == size

    def submit(self) -> None:
        noop.delay(1)
