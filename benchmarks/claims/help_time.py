"""``manage.py --help`` from a cold start of Python: the median of ten.

Run it as ``python -m benchmarks.claims.help_time``.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.claims.claim import Claim, median, show

ROOT = Path(__file__).resolve().parents[2]
RUNS = 10


def run_s(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def measure() -> Iterator[Claim]:
    command = [sys.executable, "manage.py", "--help"]
    run_s(command)  # the first writes the bytecode
    seconds = [round(run_s(command), 4) for _ in range(RUNS)]
    yield Claim("manage.py --help, median of 10", median(seconds), "s", 0.3, {"seconds": seconds})
    alone = [round(run_s([sys.executable, "-c", ""]), 4) for _ in range(RUNS)]
    yield Claim("of that, Python's own start", median(alone), "s", raw={"seconds": alone})


if __name__ == "__main__":
    show("help_time", measure)
