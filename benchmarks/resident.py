"""The resident memory of processes: sampled over time, or the peak of a life."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

PAUSE_S = 0.25
MIB = 1024 * 1024
Sample = dict[str, float]  # MiB of each process by its name, and ``at_s``


class Resident:
    """Samples processes by name, and the largest child of one of them, in a thread."""

    def __init__(self, pids: dict[str, int], *, worker: str) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._worker = worker

    @contextmanager
    def sampled(self) -> Iterator[list[Sample]]:
        """Sample until the end of the block; the samples are there after it."""
        samples: list[Sample] = []
        ended = threading.Event()
        thread = threading.Thread(target=self._sample, args=(samples, ended), daemon=True)
        thread.start()
        try:
            yield samples
        finally:
            ended.set()
            thread.join()

    def _sample(self, samples: list[Sample], ended: threading.Event) -> None:
        started = time.perf_counter()
        while True:
            now = {name: process.memory_info().rss for name, process in self._processes.items()}
            children = [child.memory_info().rss for child in self._processes[self._worker].children()]
            now[f"{self._worker}, largest child"] = max(children, default=0)
            at_s = round(time.perf_counter() - started, 2)
            samples.append({"at_s": at_s, **{name: round(rss / MIB, 1) for name, rss in now.items()}})
            if ended.wait(PAUSE_S):
                return


def peaks(samples: list[Sample]) -> Sample:
    """Return the most that each process took."""
    return {name: max(row[name] for row in samples) for name in samples[0] if name != "at_s"}


def thinned(samples: list[Sample], most: int = 50) -> list[Sample]:
    """Keep as many samples as a picture needs."""
    return samples[:: max(1, -(-len(samples) // most))]


def peak_mib(pid: int) -> float:
    """Return the most that a process has taken since its start."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)
