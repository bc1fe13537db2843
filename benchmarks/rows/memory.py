"""Resident memory at its peak, of the process that submits a join and of the worker that runs it.

Each side has a submitter and a prefork worker of its own. The body of the chord is given every
result in one list, by both.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import psutil

from benchmarks.resident import peak_mib
from benchmarks.rows.row import Figures, Line, Row, Scale, Turn, beside, column
from benchmarks.servers import PREFORK
from benchmarks.sides import OURS, PLAIN, Ours, Plain
from tests.servers.process import ROOT

PARTS = ("submitter", "worker's parent", "worker's largest child")


def measure(turn: Turn) -> Figures:
    return {
        f"{name} | {part}": mib
        for name in (PLAIN, OURS)
        for part, mib in zip(PARTS, of_side(turn, name), strict=True)
    }


def of_side(turn: Turn, name: str) -> tuple[float, float, float]:
    side: Any = turn.sides[name]
    with turn.servers.fleet(side, PREFORK) as workers:
        command = [sys.executable, "-m", "benchmarks.rows.memory", name, str(turn.scale.memory)]
        env = {**os.environ, **side.env}
        done = subprocess.run(command, env=env, cwd=ROOT, check=True, capture_output=True, text=True)
        parent = psutil.Process(workers[0].pid)
        largest = max(peak_mib(child.pid) for child in parent.children())
        return float(done.stdout.split()[-1]), peak_mib(parent.pid), largest


def lines(rounds: list[Figures], scale: Scale) -> list[Line]:
    found = []
    for part in PARTS:
        ours, plain = (column(rounds, f"{name} | {part}") for name in (OURS, PLAIN))
        what = f"resident memory, peak at a join of {scale.memory:,}: {part}"
        found.append(beside(what, None, ours, plain, unit="MiB"))
    return found


def submit(name: str, size: int) -> None:
    """Submit and wait, in a process of its own; print its peak once the work is sent."""
    side: Any = {PLAIN: Plain, OURS: Ours}[name]()
    handle = side.publish(size)
    print(peak_mib(os.getpid()), flush=True)
    side.wait(handle)


ROW = Row("memory", lines, measure, is_counted=True)

if __name__ == "__main__":
    submit(sys.argv[1], int(sys.argv[2]))
