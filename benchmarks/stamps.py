"""When a step ran: a time for each, added to a file that both sides' tasks write in the same way."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path


def stamped(n: int, path: str) -> int:
    """Note the time in a file, and return the next number: the task of a chain whose hops are timed."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, f"{time.monotonic()!r}\n".encode())  # one clock for all processes of a machine
    finally:
        os.close(file)
    return n + 1


def hops_ms(path: Path) -> list[float]:
    """Return the time from each step of a chain to the next."""
    at = [float(line) for line in path.read_text().split()]
    return [(after - before) * 1000 for before, after in pairwise(at)]
