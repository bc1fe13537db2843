"""``manage.py --help`` from a cold start of Python."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.rows.row import Figures, Line, Row, Scale, Turn, at_most, column, middle
from tests.servers.process import ROOT


def measure(turn: Turn) -> Figures:
    command = [sys.executable, "manage.py", "--help"]
    run_s(command)  # the first writes the bytecode
    return {
        "help": middle([run_s(command) for _ in range(turn.scale.starts)]),
        "python": middle([run_s([sys.executable, "-c", ""]) for _ in range(turn.scale.starts)]),
    }


def run_s(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def lines(rounds: list[Figures], _scale: Scale) -> list[Line]:
    alone = middle(column(rounds, "python"))
    what = f"manage.py --help, cold ({alone:.3f} s of it Python's own start)"
    return [Line(what, at_most(0.3), column(rounds, "help"), "s")]


ROW = Row("help", lines, measure)
