"""Batuta and plain Celery, interleaved, on the same servers and worker settings.

Run it as ``python -m benchmarks.core [--rounds 5] [--sizes 1000,5000] [--out FILE]``. It
starts a RabbitMQ and a Redis of its own, and for each worker shape one fleet of each
side at a time; prints medians and ratios, and keeps the raw figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import chain, chord

from benchmarks.servers import SHAPES, fleet, private_servers


class Plain:
    """Plain Celery: late acks, reject on worker lost, publisher confirms."""

    name, app, env = "plain Celery", "benchmarks.plain_tasks", {}

    def __init__(self) -> None:
        from benchmarks import plain_tasks

        self.tasks = plain_tasks

    def publish(self, size: int) -> tuple[float, Any]:
        """Publish a chord's header; returns the seconds it took and what to wait for."""
        started = time.perf_counter()
        result = chord([self.tasks.noop.s(n) for n in range(size)], self.tasks.count.s()).apply_async()
        return time.perf_counter() - started, result

    def wait_best(self, result: Any) -> None:
        """Wait by looking at the body's result key: the cheapest way there is."""
        key = result.backend.get_key_for_task(result.id)
        while not result.backend.client.exists(key):
            time.sleep(0.005)

    def wait_natural(self, result: Any) -> None:
        result.get(timeout=600)

    def chain(self, length: int) -> None:
        canvas = chain(self.tasks.hop.s(0), *[self.tasks.hop.s() for _ in range(length - 1)])
        self.wait_best(canvas.apply_async())

    def submit(self) -> None:
        self.tasks.noop.delay(1)


class Ours:
    """Batuta: every step journaled, every message confirmed."""

    name, app, env = "Batuta", "coordinator.app", {"COORDINATOR_JOBS": "benchmarks.noop_tasks"}

    def __init__(self) -> None:
        from benchmarks import noop_tasks
        from coordinator import Coordinator

        self.tasks = noop_tasks
        self.coordinator = Coordinator.from_settings()

    def publish(self, size: int) -> tuple[float, Any]:
        started = time.perf_counter()
        job = self.coordinator.launch(
            chord([self.tasks.noop.s(n) for n in range(size)], self.tasks.count.s())
        )
        return time.perf_counter() - started, job

    def wait_best(self, job: Any) -> None:
        self.coordinator.wait(job, timeout_s=600)

    wait_natural = wait_best

    def chain(self, length: int) -> None:
        canvas = chain(self.tasks.hop.s(0), *[self.tasks.hop.s() for _ in range(length - 1)])
        self.coordinator.wait(self.coordinator.launch(canvas), timeout_s=600)

    def submit(self) -> None:
        self.coordinator.launch(self.tasks.noop.s(1))


class Notes:
    """Where the figures of one side and shape go."""

    def __init__(self, raw: dict[str, list[float]], shape: str, side: str) -> None:
        self._raw, self._shape, self._side = raw, shape, side

    def __call__(self, what: str, value: float) -> None:
        self._raw.setdefault(f"{self._shape} | {what} | {self._side}", []).append(value)


def measure(side: Any, sizes: list[int], note: Callable[[str, float], None]) -> None:
    """Run every workload once on a fleet that is up."""
    side.chain(3)
    for size in sizes:
        published_s, handle = side.publish(size)
        started = time.perf_counter()
        side.wait_best(handle)
        note(f"header of {size}: messages/s published", size / published_s)
        note(f"join of {size}: steps/s", size / (published_s + time.perf_counter() - started))
    started = time.perf_counter()
    side.chain(100)
    note("chain of 100: ms a hop", (time.perf_counter() - started) * 10)
    times = []
    for _ in range(50):
        started = time.perf_counter()
        side.submit()
        times.append(time.perf_counter() - started)
    note("submit of one step: p50, ms", statistics.median(times) * 1000)
    published_s, handle = side.publish(1000)
    started = time.perf_counter()
    side.wait_natural(handle)
    note("join of 1000, waited for naturally: steps/s", 1000 / (published_s + time.perf_counter() - started))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default="1000,5000")
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/core.json"))
    args = parser.parse_args()
    sizes = [int(size) for size in args.sizes.split(",")]
    raw: dict[str, list[float]] = {}
    with private_servers() as servers:
        os.environ.update(servers.env(), **Ours.env)
        sides = [Plain(), Ours()]
        for number in range(args.rounds):
            for shape in args.shapes.split(","):
                for side in sides if number % 2 else sides[::-1]:
                    with fleet(side.app, shape, servers.home, side.env):
                        measure(side, sizes, Notes(raw, shape, side.name))
            print(f"round {number + 1} of {args.rounds}", file=sys.stderr, flush=True)
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(raw, indent=1))
    report(raw)


def report(raw: dict[str, list[float]]) -> None:
    """Print medians, and the ratio of ours to the plain side."""
    print(f"{'worker':<14}{'what':<48}{'plain Celery':>14}{'Batuta':>10}{'ratio':>8}")
    for key in sorted({key.rpartition(" | ")[0] for key in raw}):
        plain, ours = (statistics.median(raw[f"{key} | {name}"]) for name in (Plain.name, Ours.name))
        shape, _, what = key.partition(" | ")
        print(f"{shape:<14}{what:<48}{plain:>14.2f}{ours:>10.2f}{ours / plain:>8.2f}")


if __name__ == "__main__":
    main()
