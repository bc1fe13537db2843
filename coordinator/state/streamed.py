"""Reading a stream back: its steps in flight, its values, and the items that failed.

Owns the reads of the hashes ``s`` and ``v`` that views and results need. Invariant:
reads change nothing.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from kombu.utils.json import loads

from coordinator.plan import Plan
from coordinator.state.keys import Keys
from coordinator.stream import Stream

PARTS_AT_ONCE = 100


class Streamed(ABC):
    """What is recorded about streams."""

    client: Any
    keys: Keys

    def with_open_steps(self, job: str, plans: dict[str, Plan]) -> dict[str, Plan]:
        """Return fragments, their streams with the steps that are in flight."""
        if not any(isinstance(plan, Stream) for plan in plans.values()):
            return plans
        numbers: dict[str, list[int]] = {}
        for field in self.client.hkeys(self.keys.named(job, "s")[0]):
            match = re.fullmatch(rb"(.*)/(\d+)", field)
            if match:
                numbers.setdefault(match[1].decode(), []).append(int(match[2]))
        return {
            key: replace(plan, steps=tuple(plan.step(f"{key}/{n}") for n in sorted(numbers.get(key, []))))
            if isinstance(plan, Stream)
            else plan
            for key, plan in plans.items()
        }

    def is_open(self, job: str, key: str) -> bool:
        """Whether a stream's step is cut and not recorded."""
        return bool(self.client.hexists(self.keys.named(job, "s")[0], key))

    def is_over(self, job: str, key: str) -> bool:
        """Whether a step is a stream's, and recorded."""
        owner, _, number = key.rpartition("/")
        found = self.client.hmget(self.keys.named(job, "s")[0], f"{owner}:serial", key)
        return found[0] is not None and found[1] is None and int(number) < int(found[0])

    def stream_value(self, job: str, key: str) -> list[Any]:
        """Return the values of all items, in their order."""
        batches = int(self.client.hget(self.keys.named(job, "s")[0], f"{key}:batches") or 0)
        return [value for part in self.parts(job, key, 0, range(batches)) for value in part]

    def parts(self, job: str, key: str, level: int, indices: range) -> Iterator[Any]:
        """Yield what was recorded for parts of a stream: batches at level 0, merges above."""
        name = self.keys.named(job, "v")[0]
        for start in range(0, len(indices), PARTS_AT_ONCE):
            fields = [f"{key}:{level}:{index}" for index in indices[start : start + PARTS_AT_ONCE]]
            for field, text in zip(fields, self.client.hmget(name, fields), strict=True):
                yield self.value_of_record(job, field, text)

    def failed_items(self, job: str) -> list[dict[str, Any]]:
        """Return the items that failed within the share that was allowed: the first 1,000 of each stream."""
        found = []
        for field, text in self.client.hscan_iter(self.keys.named(job, "v")[0], match="*!*", count=1000):
            owner, _, item = field.decode().partition("!")
            found.append({"owner": owner, "item": int(item), **loads(text)})
        return sorted(found, key=lambda failed: (failed["owner"], failed["item"]))

    @abstractmethod
    def value_of_record(self, job: str, key: str, text: bytes | str | None) -> Any: ...
