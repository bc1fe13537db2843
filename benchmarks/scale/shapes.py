"""The workers that were measured: how many, and of which pool."""

from __future__ import annotations

import os
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


def workers_of(shape: str, home: Path) -> list[Worker]:
    return [Worker(os.environ, home=home, **kind) for kind in SHAPES[shape]]
