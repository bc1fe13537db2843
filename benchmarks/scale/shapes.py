"""The workers that were measured: how many, and of which pool."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers import Worker

SOLO = {"pool": "solo", "concurrency": 1}
SHAPES: dict[str, list[dict[str, Any]]] = {
    "one solo": [SOLO],
    "two solo": [SOLO] * 2,
    "four solo": [SOLO] * 4,
    "prefork -c 1": [{"pool": "prefork", "concurrency": 1}],
    "prefork -c 2": [{"pool": "prefork", "concurrency": 2}],
}
#: One of them, on something else than a classic queue and one Redis.
ELSEWHERE = ("one solo, quorum queue", "one solo, Redis Cluster")


@contextmanager
def fleet(shape: str, home: Path) -> Iterator[Sequence[Worker]]:
    """Run the workers of a shape, and end them with the block."""
    workers = [Worker(os.environ, home=home, **kind) for kind in SHAPES[shape]]
    for worker in workers:
        worker.launch()
    try:
        for worker in workers:
            worker.wait_ready()
        yield workers
    finally:
        for worker in workers:
            worker.stop()
