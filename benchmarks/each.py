"""A million no-op items through ``each`` in batches: time and memory, against a step per item.

Run it as ``python -m benchmarks.each [--items 1000000] [--steps 2000] [--rounds 3]``. It starts a
RabbitMQ, a Redis and one worker with two children of its own; in each round it runs items as steps
of their own and a million in batches, on the same worker; samples the resident memory of every process
four times a second; keeps the raw figures as JSON and draws the last round's memory as SVG.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.curve import draw
from benchmarks.servers import private_servers
from tests.servers import Worker

PAUSE_S = 0.25
MIB = 1024 * 1024


class Memory:
    """Samples the resident memory of processes by name, in a thread."""

    def __init__(self, processes: dict[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in processes.items()}
        self._worker = self._processes["worker, parent"]
        self._ended = threading.Event()
        self.samples: list[dict[str, Any]] = []

    @contextmanager
    def sampled(self) -> Iterator[list[dict[str, Any]]]:
        """Sample until the end of the block; the samples are there after it."""
        self.samples, self._ended = [], threading.Event()
        thread = threading.Thread(target=self._sample, daemon=True)
        started = self._started = time.perf_counter()
        thread.start()
        yield self.samples
        self._ended.set()
        thread.join()
        assert started == self._started

    def _sample(self) -> None:
        while True:
            row = {"at_s": round(time.perf_counter() - self._started, 2)}
            for name, process in self._processes.items():
                row[name] = round(process.memory_info().rss / MIB, 2)
            children = [child.memory_info().rss for child in self._worker.children()]
            row["worker, largest child"] = round(max(children, default=0) / MIB, 2)
            self.samples.append(row)
            if self._ended.wait(PAUSE_S):
                return


def run(coordinator: Any, canvas: Any, items: int, expected: int, memory: Memory) -> dict[str, Any]:
    """Run one job; returns its time, its rate and its memory."""
    with memory.sampled() as samples:
        started = time.perf_counter()
        job = coordinator.launch(canvas)
        value = coordinator.wait(job, timeout_s=3600)
        took_s = time.perf_counter() - started
    assert value == expected, f"expected {expected}, got {value}"
    state = coordinator.state_manager
    messages = state.client.hget(state.keys.named(job, "s")[0], "0:batches")
    return {
        "items": items,
        "took_s": round(took_s, 2),
        "items_per_s": round(items / took_s, 1),
        "batches": int(messages) if messages else items,
        "samples": samples,
    }


def rounds(args: argparse.Namespace, memory: Memory) -> Iterator[dict[str, dict[str, Any]]]:
    from benchmarks.noop_tasks import added, noop
    from coordinator import Coordinator, each

    coordinator = Coordinator.from_settings()

    def batched(items: int) -> dict[str, Any]:
        canvas = each(noop.s(), combine=added.s(), over=range(items))
        return run(coordinator, canvas, items, items * (items - 1) // 2, memory)

    def steps(items: int) -> dict[str, Any]:
        canvas = each(noop.s(), join=added.s())
        launched = Given(coordinator, list(range(items)))
        return run(launched, canvas, items, items * (items - 1) // 2, memory)

    steps(100)
    for _ in range(args.rounds):
        yield {
            "a step per item": steps(args.steps),
            "a thousand in batches": batched(1000),
            "in batches": batched(args.items),
        }


class Given:
    """A coordinator that launches a canvas on a value."""

    def __init__(self, coordinator: Any, value: Any) -> None:
        self._coordinator, self._value = coordinator, value
        self.state_manager, self.wait = coordinator.state_manager, coordinator.wait

    def launch(self, canvas: Any) -> str:
        return str(self._coordinator.launch(canvas, args=(self._value,)))


def report(found: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Print and return medians, and for each process its memory before and at its peak."""
    rates = {name: statistics.median(part[name]["items_per_s"] for part in found) for name in found[0]}
    ratio = rates["in batches"] / rates["a step per item"]
    print(f"{'':<28}{'items/s (median)':>18}{'messages':>10}")
    for name, rate in rates.items():
        print(f"{name:<28}{rate:>18,.0f}{found[-1][name]['batches']:>10,}")
    print(f"{'ratio':<28}{ratio:>18,.0f}")
    samples = found[-1]["in batches"]["samples"]
    thousand = found[-1]["a thousand in batches"]["samples"]
    memory = {}
    print(f"{'memory, MiB':<28}{'start':>10}{'end':>10}{'peak':>10}{'peak of 1,000':>16}")
    for name in [name for name in samples[0] if name != "at_s"]:
        values = [row[name] for row in samples]
        small = max(row[name] for row in thousand)
        memory[name] = {"start": values[0], "end": values[-1], "peak": max(values), "peak_of_1000": small}
        print(f"{name:<28}{values[0]:>10.1f}{values[-1]:>10.1f}{max(values):>10.1f}{small:>16.1f}")
    return {"items_per_s": rates, "ratio": round(ratio, 1), "memory_mib": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/each.json"))
    parser.add_argument("--picture", type=Path, default=Path("docs/pictures/each-memory.svg"))
    args = parser.parse_args()
    with private_servers() as servers:
        os.environ.update(servers.env(), COORDINATOR_JOBS="benchmarks.noop_tasks")
        worker = Worker(os.environ, home=servers.home, concurrency=2).start()
        try:
            beam = max(
                psutil.Process(servers.rabbitmq.process.pid).children(recursive=True),
                key=lambda p: p.memory_info().rss,
            )
            memory = Memory(
                {
                    "worker, parent": worker.pid,
                    "RabbitMQ": beam.pid,
                    "Redis": servers.redis.process.pid,
                    "submitter": os.getpid(),
                }
            )
            found = list(rounds(args, memory))
        finally:
            worker.stop()
    summary = report(found)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"summary": summary, "rounds": found}))
    args.picture.parent.mkdir(parents=True, exist_ok=True)
    title = f"{args.items:,} no-op items in batches: resident memory (MiB) over time (s)"
    args.picture.write_text(draw(found[-1]["in batches"]["samples"], title))


if __name__ == "__main__":
    main()
