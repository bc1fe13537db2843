"""Many jobs at a glance, and large jobs in few reads: pages of jobs, and where the steps of one stand.

Owns reads whose cost is bounded however many jobs or steps there are. Invariant: a
page is in the order of (creation, id), newest first, and its cursor names the last
job looked at, so that jobs which come or go between two pages shift nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from coordinator.state.keys import SHARDS
from coordinator.state.views import Views, _status
from coordinator.states import JobStatus, State

#: Members of one shard's index that are read at once.
INDEX_AT_ONCE = 500
#: Jobs whose state and kind are read at once, and in all for one page.
LOOKED_AT_ONCE = 500
LOOKED_AT_MOST = 10_000
LISTED = ("kind", "state", "version", "created", "started", "finished", "total", "error", "reason")
ACTIVE = frozenset({State.RECEIVED, State.PROCESSING, State.PAUSED})

Place = tuple[int, str]  # when a job was created (ms), and its id


@dataclass(frozen=True, slots=True)
class Page:
    """A page of jobs, newest first."""

    jobs: tuple[JobStatus, ...]  # flags and parameters left out
    after: str  # give it to ``page`` for what comes next; "" at the end


class Overview(Views):
    """Lists of jobs by pages."""

    def page(
        self,
        *,
        after: str = "",
        limit: int = 50,
        state: str | None = None,
        kind: str | None = None,
        prefix: str = "",
    ) -> Page:
        """Return a page of jobs, newest first, in bounded time.

        Args:
            after: the ``after`` of the page before; "" for the first.
            limit: how many jobs at most.
            state, kind: only such jobs. Where few match, a page may come with fewer than ``limit`` jobs,
                even with none, and still have an ``after``: go on from there.
            prefix: only jobs whose id starts with it.
        """
        found: list[JobStatus] = []
        looked = 0
        batch: list[Place] = []
        last: Place | None = None
        places = self._places(_place(after), active=state in ACTIVE)
        wanted = (place for place in places if place[1].startswith(prefix))
        while looked < LOOKED_AT_MOST:
            batch = list(islice(wanted, min(LOOKED_AT_ONCE, 4 * limit)))
            if not batch:
                return Page(tuple(found), "")
            looked += len(batch)
            matching = self._matching(batch, state, kind)
            room = limit - len(found)
            found += self._listed([job for _, job in matching[:room]])
            if len(matching) >= room:
                last = matching[room - 1]
                break
            last = batch[-1]
        is_end = last == batch[-1] and next(wanted, None) is None
        return Page(tuple(found), "" if is_end or last is None else f"{last[0]}~{last[1]}")

    def counts(self) -> dict[str, int]:
        """Return how many jobs are kept (``jobs``) and how many have not ended (``active``)."""
        pipe = self.client.pipeline(transaction=False)
        for name in ("jobs", "active"):
            for shard in range(SHARDS):
                pipe.zcard(self.keys.index(shard, name))
        answers = pipe.execute()
        return {"jobs": sum(answers[:SHARDS]), "active": sum(answers[SHARDS:])}

    # -- private ------------------------------------------------------------

    def _places(self, after: Place | None, *, active: bool) -> Iterator[Place]:
        """Yield jobs newest first, from all shards, each once."""
        if active:
            yield from (place for place in self._active() if after is None or place < after)
            return
        top = f"{after[0]}" if after else "+inf"
        last = after
        for place in heapq.merge(*(self._shard(n, top) for n in range(SHARDS)), reverse=True):
            if last is None or place < last:  # what is not older was on a page before
                last = place
                yield place

    def _shard(self, shard: int, top: str) -> Iterator[Place]:
        key, start = self.keys.index(shard, "jobs"), 0
        while True:
            rows = self.client.zrevrangebyscore(
                key, top, "-inf", start=start, num=INDEX_AT_ONCE, withscores=True
            )
            yield from ((int(created), job.decode()) for job, created in rows)
            if len(rows) < INDEX_AT_ONCE:
                return
            start += len(rows)

    def _active(self) -> list[Place]:
        """Return the jobs that have not ended, newest first: few, even where many are kept."""
        jobs: list[str] = []
        for shard in range(SHARDS):
            jobs += (job.decode() for job in self.client.zrange(self.keys.index(shard, "active"), 0, -1))
        pipe = self.client.pipeline(transaction=False)
        for job in jobs:
            pipe.zscore(self.keys.named(job, "jobs")[0], job)
        created = pipe.execute() if jobs else []
        return sorted(((int(at or 0), job) for at, job in zip(created, jobs, strict=True)), reverse=True)

    def _matching(self, places: list[Place], state: str | None, kind: str | None) -> list[Place]:
        """Return those that still exist and are of the state and kind wanted."""
        pipe = self.client.pipeline(transaction=False)
        for _, job in places:
            pipe.hmget(self._key(job, "m"), "state", "kind")
        return [
            place
            for place, found in zip(places, pipe.execute(), strict=True)
            if found[0] is not None
            and (not state or found[0].decode() == state)
            and (not kind or found[1].decode() == kind)
        ]

    def _listed(self, jobs: list[str]) -> list[JobStatus]:
        pipe = self.client.pipeline(transaction=False)
        for job in jobs:
            pipe.hmget(self._key(job, "m"), *LISTED)
            pipe.hlen(self._key(job, "r"))
        answers = iter(pipe.execute() if jobs else [])
        found = []
        for job, values, done in zip(jobs, answers, answers, strict=False):
            fields = {
                name: text.decode() for name, text in zip(LISTED, values, strict=True) if text is not None
            }
            if "state" in fields:
                found.append(_status(job, fields, done))
        return found


def _place(cursor: str) -> Place | None:
    created, _, job = cursor.partition("~")
    return (int(created), job) if job and created.isdigit() else None
