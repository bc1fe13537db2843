"""CPU that each part has used so far, by its own account: the kernel's, or Redis' of its main thread."""

from __future__ import annotations

import time
from collections.abc import Sequence

import psutil
import redis

from tests.servers import RabbitMQ, Redis, Worker


class Meter:
    """Reads what workers, Redis and RabbitMQ have used; a window is the difference of two reads."""

    def __init__(self, rabbitmq: RabbitMQ, nodes: Sequence[Redis], workers: Sequence[Worker] = ()) -> None:
        started = psutil.Process(rabbitmq.process.pid).children(recursive=True)
        self._beam = max(started, key=lambda process: process.memory_info().rss)
        self._self = psutil.Process()
        self._nodes = [redis.Redis.from_url(node.url()) for node in nodes]
        self._parents = [psutil.Process(worker.pid) for worker in workers]
        self._children = [psutil.Process(pid) for worker in workers for pid in worker.children()]

    def read(self) -> dict[str, float]:
        cpu = [node.info("cpu") for node in self._nodes]
        scripts = [node.info("commandstats").get("cmdstat_evalsha", {}) for node in self._nodes]
        return {
            "seconds": time.perf_counter(),
            "parent": _cpu_s(self._parents),
            "children": _cpu_s(self._children),
            "redis": sum(used[f"used_cpu_{kind}_main_thread"] for used in cpu for kind in ("user", "sys")),
            "scripts": sum(stat.get("usec", 0) for stat in scripts) / 1e6,
            "calls": sum(stat.get("calls", 0) for stat in scripts),
            "rabbitmq": _cpu_s([self._beam]),
            "submitter": _cpu_s([self._self]),
            "machine": _busy_s(),
        }


def between(before: dict[str, float], after: dict[str, float], count: int) -> dict[str, float]:
    """Return a window: what was used, and how many steps (or jobs, or messages) came of it."""
    return {name: round(after[name] - value, 4) for name, value in before.items()} | {"count": count}


def _busy_s() -> float:
    """Return what all processes of the machine have used, and what its host took: others disturb."""
    used = psutil.cpu_times()
    return float(used.user + used.nice + used.system + used.irq + used.softirq + used.steal)


def _cpu_s(processes: Sequence[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return float(sum(used.user + used.system for used in times))
