"""The events of all jobs as they happen, however many jobs are kept.

Owns the reading of the shards' streams of events, which the scripts write beside a job's own. Invariant:
a look costs one round trip and what is new, and nothing that grows with the number of jobs; a job's
events come in their order. What was trimmed before it was read is missed.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from coordinator.state.keys import SHARDS
from coordinator.state.overview import INTERNAL
from coordinator.state.reaching import reaching
from coordinator.state.views import Views, event_fields, ms_of
from coordinator.states import Event

#: Jobs whose kind is remembered: it never changes.
KINDS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Happening(Event):
    """An event among those of all jobs."""

    kind: str = ""  # of the job; empty where the job is kept no longer


class Feed:
    """The events of all jobs, from a place in each shard on. For one thread."""

    def __init__(self, state: Views, *, past: bool = False) -> None:
        """Begin with what happens from now on, or with ``past`` at the oldest event that is kept."""
        self._client = state.client
        self._keys = state.keys
        self._kinds: OrderedDict[str, str] = OrderedDict()
        self._places = dict.fromkeys(range(SHARDS), "0-0") if past else self._ends()

    def new(self, kind: str | None = None) -> list[Happening]:
        """Return what has happened since the last call, without the jobs that Batuta itself runs.

        Args:
            kind: only the events of jobs of this kind.

        Raises:
            StateUnreachable: call again; nothing is missed by that.
        """
        found = sorted(self._read(self._entries()), key=lambda entry: entry[2].at_ms)
        for shard, stamp, _ in found:
            self._places[shard] = stamp
        events = (event for _, _, event in found)
        return [e for e in events if e.kind == kind or (kind is None and not e.kind.startswith(INTERNAL))]

    # -- private ------------------------------------------------------------

    def _ends(self) -> dict[int, str]:
        pipe = self._client.pipeline(transaction=False)
        for shard in range(SHARDS):
            pipe.xrevrange(self._keys.index(shard, "events"), count=1)
        answers = self._answers(pipe)
        return {shard: last[0][0].decode() if last else "0-0" for shard, last in enumerate(answers)}

    def _entries(self) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        for shard, place in self._places.items():
            pipe.xrange(self._keys.index(shard, "events"), min=f"({place}")
        return self._answers(pipe)

    def _read(self, answers: list[Any]) -> list[tuple[int, str, Happening]]:
        texts = [
            (shard, stamp.decode(), event_fields(fields))
            for shard, entries in enumerate(answers)
            for stamp, fields in entries
        ]
        kinds = self._kinds_of({fields["job"] for _, _, fields in texts})
        return [
            (shard, stamp, Happening(f"{shard}:{stamp}", ms_of(stamp), **fields, kind=kinds[fields["job"]]))
            for shard, stamp, fields in texts
        ]

    def _kinds_of(self, jobs: set[str]) -> dict[str, str]:
        unknown = sorted(jobs - self._kinds.keys())
        pipe = self._client.pipeline(transaction=False)
        for job in unknown:
            pipe.hget(self._keys.named(job, "m")[0], "kind")
        for job, kind in zip(unknown, self._answers(pipe) if unknown else [], strict=True):
            self._kinds[job] = kind.decode() if kind else ""
        known = {job: self._kinds[job] for job in jobs}
        while len(self._kinds) > KINDS_KEPT:
            self._kinds.popitem(last=False)
        return known

    def _answers(self, pipe: Any) -> list[Any]:
        with reaching(self._client.url):
            return pipe.execute()  # type: ignore[no-any-return]
