"""Resident memory at its peak, of the process that submits a chord and of the worker that runs it.

Run it as ``python -m benchmarks.claims.memory [--sizes 1000,20000,100000]``. Each size has a submitter
and a worker (prefork, two children) of its own, for Batuta and for plain Celery. The body of the chord
is given every result in one list, by both.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.claims.claim import Claim, show
from benchmarks.core import Ours, Plain
from benchmarks.servers import Servers, fleet, private_servers

SIDES = (Ours, Plain)


def submit(name: str, size: int) -> None:
    """Submit and wait, in a process of its own; print its peak once the work is sent."""
    side: Any = next(side for side in SIDES if side.name == name)()
    _, handle = side.publish(size)
    print(peak_mib(os.getpid()), flush=True)
    side.wait_best(handle)


def peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)


def run(servers: Servers, side: Any, size: int) -> dict[str, float]:
    """Return the peaks of submitter, worker's parent and its largest child, in MiB."""
    with fleet(side.app, "prefork -c 2", servers.home, side.env) as workers:
        command = [
            sys.executable,
            "-m",
            "benchmarks.claims.memory",
            "--submit",
            side.name,
            "--sizes",
            str(size),
        ]
        done = subprocess.run(
            command, env={**os.environ, **side.env}, check=True, capture_output=True, text=True
        )
        parent = psutil.Process(workers[0].pid)
        children = [peak_mib(child.pid) for child in parent.children()]
        return {
            "submitter": float(done.stdout.split()[-1]),
            "worker's parent": peak_mib(parent.pid),
            "worker's largest child": max(children),
        }


def measure(sizes: list[int]) -> Iterator[Claim]:
    with private_servers() as servers:
        os.environ.update(servers.env(), **Ours.env)
        for side in SIDES:
            for size in sizes:
                for what, mib in run(servers, side, size).items():
                    yield Claim(f"{side.name}, header of {size:,}: {what}", mib, "MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,20000,100000")
    parser.add_argument("--submit", help=argparse.SUPPRESS)
    args = parser.parse_args()
    sizes = [int(size) for size in args.sizes.split(",")]
    if args.submit:
        submit(args.submit, sizes[0])
    else:
        show("memory", lambda: measure(sizes))


if __name__ == "__main__":
    main()
