"""CPU of an idle worker with its reconciler, beside 10,000 finished jobs and 1,000 that wait.

Run it as ``python -m benchmarks.claims.idle [--finished 10000] [--waiting 1000] [--seconds 60]``.
Half of those that wait have a step in a queue that nobody reads, half a retry in an hour. The
worker's time is that of its parent and its children (/proc/PID/stat).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from typing import Any

import psutil

from benchmarks.claims.claim import Claim, show
from benchmarks.core import Ours, Plain
from benchmarks.servers import fleet, private_servers
from tests.waiting import wait_until

#: A job that waits is looked at less and less.
SETTLE_S = 150.0


def fill(ours: Ours, finished: int, waiting: int) -> None:
    """Bring the jobs into Redis: finished ones, and ones that wait."""
    tasks = ours.tasks
    jobs = [ours.coordinator.launch(tasks.noop.s(1)) for _ in range(finished)]
    for number in range(waiting):
        ours.coordinator.launch(tasks.later.s() if number % 2 else tasks.noop.s(1).set(queue="nobody-reads"))
    ours.coordinator.wait(jobs[-1], timeout_s=600)
    wait_until(lambda: counts(ours)["active"] == waiting, timeout_s=120, what="the jobs to wait", pause_s=1)


def counts(ours: Ours) -> dict[str, int]:
    return ours.coordinator.state_manager.counts()


def used_s(pid: int) -> float:
    """Return the CPU time of a process and its children."""
    process = psutil.Process(pid)
    times = [part.cpu_times() for part in (process, *process.children(recursive=True))]
    return sum(part.user + part.system for part in times)


def share_of(pid: int, seconds: float) -> float:
    """Return how much of a core a worker takes over a time, in percent."""
    before, started = used_s(pid), time.perf_counter()
    time.sleep(seconds)
    return (used_s(pid) - before) / (time.perf_counter() - started) * 100


def measure(args: argparse.Namespace) -> Iterator[Claim]:
    with private_servers() as servers:
        os.environ.update(servers.env(), **Ours.env)
        ours: Any = Ours()
        client = ours.coordinator.state_manager.client
        with fleet(Ours.app, "prefork -c 2", servers.home, Ours.env) as workers:
            fill(ours, args.finished, args.waiting)
            time.sleep(SETTLE_S)
            client.config_resetstat()
            share = share_of(workers[0].pid, args.seconds)
            commands = {name: stat["calls"] for name, stat in client.info("commandstats").items()}
        with fleet(Plain.app, "prefork -c 2", servers.home, Plain.env) as workers:
            time.sleep(SETTLE_S)
            plain = share_of(workers[0].pid, args.seconds)
    what = f"idle worker, {args.finished:,} finished and {args.waiting:,} waiting jobs: CPU"
    yield Claim(what, share, "% of a core", 1.0, {"redis_calls": commands, "seconds": args.seconds})
    yield Claim("idle worker of plain Celery: CPU", plain, "% of a core")
    yield Claim(
        "Redis calls a second, those of scripts included", sum(commands.values()) / args.seconds, "1/s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--finished", type=int, default=10_000)
    parser.add_argument("--waiting", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    show("idle", lambda: measure(args))


if __name__ == "__main__":
    main()
