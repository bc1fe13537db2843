"""Streams in Redis: the items of an ``each`` in batches, what they gave, and which failed.

Owns the hashes ``s`` and ``v`` of a job as Python sees them. Invariant: they are
written by ``lua/stream.lua`` only, but for the pages of a list, which are stored
under the number of the attempt that stores them before its stream opens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kombu.utils.json import dumps, loads

from coordinator.errors import IllegalTransition, InvalidRequest, JobNotFound
from coordinator.state.steps import Steps
from coordinator.stream import Stream

PAGES_AT_ONCE = 100


class Streams(Steps):
    """What the steps of streams write and read."""

    def open_stream(
        self, job: str, key: str, attempt: int, stream: Stream, fields: Mapping[str, Any]
    ) -> list[str]:
        """Put a stream in the place of a step: see ``lua/open.lua``."""
        pairs = [part for pair in fields.items() for part in pair]
        keys = self.keys.named(job, "m r a g s v leases outbox active")
        return self._run("open", keys, [job, key, attempt, stream.dumps(), *pairs])

    def tune(self, job: str, key: str, *, window: int | None, batch: int | None) -> list[str]:
        """Change a running stream's limits; returns the triggers of what may be sent now.

        Raises:
            InvalidRequest: the step is no ``each`` in batches, or has not begun.
            IllegalTransition: it has ended.
        """
        keys = self.keys.named(job, "m r a s v outbox e")
        limits = ["" if limit is None else limit for limit in (window, batch)]
        verdict, *triggers = self._run("tune", keys, [job, key, *limits])
        if verdict == "none":
            raise InvalidRequest(f"step {key!r} of job {job} runs no batches; `steps` shows those that do")
        if verdict == "ended":
            raise IllegalTransition(
                f"step {key!r} of job {job} has ended; only what runs can be tuned", job=job
            )
        return triggers

    def keep_pages(self, job: str, key: str, attempt: int, pages: Sequence[Any]) -> None:
        """Store the pages of a list, for the stream that this attempt is about to open."""
        keys = self.keys.named(job, "m v")
        for start in range(0, len(pages), PAGES_AT_ONCE):
            part = pages[start : start + PAGES_AT_ONCE]
            texts = {f"{key}@{attempt}:{start + n}": dumps(page) for n, page in enumerate(part)}
            self._run("keep", keys, [word for pair in texts.items() for word in pair])

    def pages(self, job: str, names: Sequence[str]) -> list[Any]:
        """Return pages by name."""
        with self._reaching:
            texts = self.client.hmget(self.keys.named(job, "v")[0], names)
        if None in texts:
            raise JobNotFound(f"job {job} has no page {names[texts.index(None)]} any more", job=job)
        return [loads(text) for text in texts]
