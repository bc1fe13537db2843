"""Batuta: every step journaled, every message confirmed."""

from __future__ import annotations

from celery import chain, chord

from benchmarks.noop_tasks import count, hop, noop
from coordinator import Coordinator


class Side:
    def __init__(self) -> None:
        self.coordinator = Coordinator.from_settings()

    def chain(self, length: int) -> None:
        job = self.coordinator.launch(chain(hop.s(0), *[hop.s() for _ in range(length - 1)]))
        assert self.coordinator.wait(job, timeout_s=600) == length

    def fan(self, size: int) -> None:
        job = self.coordinator.launch(chord([noop.s(n) for n in range(size)], count.s()))
        assert self.coordinator.wait(job, timeout_s=600) == size

    def submit(self) -> None:
        self.coordinator.launch(noop.s(1))
