"""Many jobs at a glance, and large jobs in few reads: pages of jobs, and where the steps of one stand.

Owns reads whose cost is bounded however many jobs or steps there are. Invariant: a
page is in the order of (creation, id), newest first, and its cursor names the last
job looked at, so that jobs which come or go between two pages shift nothing.
"""

from __future__ import annotations

import base64
import binascii
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from kombu.utils.json import loads

from coordinator.state.journal import Journal
from coordinator.state.keys import SHARDS
from coordinator.states import Flag, JobStatus, State

#: Members of one shard's index that are read at once.
INDEX_AT_ONCE = 500
#: Jobs whose state and kind are read at once, and in all for one page.
LOOKED_AT_ONCE = 500
LOOKED_AT_MOST = 10_000
LISTED = (
    "kind",
    "state",
    "version",
    "created",
    "started",
    "finished",
    "total",
    "done",
    "lost",
    "error",
    "reason",
)
ACTIVE = frozenset({State.RECEIVED, State.PROCESSING, State.PAUSED})

#: Kinds of jobs that Batuta itself runs start so.
INTERNAL = "coordinator."


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A place in the list of jobs: behind this job."""

    created_ms: int
    job: str

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(f"{self.created_ms}:{self.job}".encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Read what ``str`` gave.

        Raises:
            ValueError: it is no cursor.
        """
        try:
            plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
            created, colon, job = plain.partition(":")
            if not colon or not created.isdigit() or len(created) > 16:
                raise ValueError(plain)
        except (ValueError, binascii.Error) as error:
            raise ValueError("expected `next` of the page before; leave it out to start anew") from error
        return cls(int(created), job)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of jobs, newest first."""

    jobs: list[JobStatus]  # flags and parameters left out
    next: Cursor | None  # where the next page starts; None at the end


class Overview(Journal):
    """Lists of jobs by pages."""

    def page(
        self,
        *,
        state: str | None = None,
        kind: str | None = None,
        prefix: str = "",
        limit: int = 100,
        cursor: Cursor | None = None,
        internal: bool = False,
    ) -> Page:
        """Return a page of jobs, newest first, in bounded time.

        Args:
            state, kind: only such jobs. Where few match, a page may come with fewer than ``limit`` jobs,
                even with none, and still have a ``next``: go on from there.
            prefix: only jobs whose id starts with it.
            limit: how many jobs at most.
            cursor: ``next`` of the page before.
            internal: also jobs that Batuta itself runs.
        """
        found: list[Cursor] = []
        looked = 0
        places = self._active(cursor) if state in ACTIVE else self._newest(cursor)
        wanted = (place for place in places if place.job.startswith(prefix))
        while batch := list(islice(wanted, LOOKED_AT_ONCE)):
            looked += len(batch)
            found += self._matching(batch, state, kind, internal=internal)
            if len(found) > limit:
                return Page(self._listed(found[:limit]), found[limit - 1])
            if looked >= LOOKED_AT_MOST:
                return Page(self._listed(found), batch[-1])
        return Page(self._listed(found), None)

    def counts(self) -> dict[str, int]:
        """Return how many jobs are kept (``jobs``) and how many have not ended (``active``)."""
        pipe = self.client.pipeline(transaction=False)
        for name in ("jobs", "active"):
            for shard in range(SHARDS):
                pipe.zcard(self.keys.index(shard, name))
        answers = pipe.execute()
        return {"jobs": sum(answers[:SHARDS]), "active": sum(answers[SHARDS:])}

    # -- private ------------------------------------------------------------

    def _newest(self, cursor: Cursor | None) -> Iterator[Cursor]:
        """Yield jobs newest first, from all shards, each once."""
        last = cursor
        shards = (self._newest_of(shard, cursor) for shard in range(SHARDS))
        for place in heapq.merge(*shards, reverse=True):
            if last is None or place < last:  # what is not older was on a page before
                last = place
                yield place

    def _newest_of(self, shard: int, cursor: Cursor | None) -> Iterator[Cursor]:
        key, start = self.keys.index(shard, "jobs"), 0
        latest = "+inf" if cursor is None else cursor.created_ms
        while True:
            rows = self.client.zrevrangebyscore(
                key, latest, "-inf", start=start, num=INDEX_AT_ONCE, withscores=True
            )
            yield from (Cursor(int(created), job.decode()) for job, created in rows)
            if len(rows) < INDEX_AT_ONCE:
                return
            start += len(rows)

    def _active(self, cursor: Cursor | None) -> Iterator[Cursor]:
        """Yield the jobs that have not ended, newest first: few, even where many are kept."""
        jobs: list[str] = []
        for shard in range(SHARDS):
            jobs += (job.decode() for job in self.client.zrange(self.keys.index(shard, "active"), 0, -1))
        pipe = self.client.pipeline(transaction=False)
        for job in jobs:
            pipe.zscore(self.keys.named(job, "jobs")[0], job)
        created = pipe.execute() if jobs else []
        places = (Cursor(int(at or 0), job) for at, job in zip(created, jobs, strict=True))
        return iter(sorted((p for p in places if cursor is None or p < cursor), reverse=True))

    def _matching(
        self, places: list[Cursor], state: str | None, kind: str | None, *, internal: bool
    ) -> list[Cursor]:
        """Return those that are still kept and fit."""
        pipe = self.client.pipeline(transaction=False)
        for place in places:
            pipe.hmget(self._key(place.job, "m"), "state", "kind")
        return [
            place
            for place, found in zip(places, pipe.execute(), strict=True)
            if found[0] is not None
            and (state is None or found[0].decode() == state)
            and (kind is None or found[1].decode() == kind)
            and (internal or kind is not None or not found[1].decode().startswith(INTERNAL))
        ]

    def _listed(self, places: list[Cursor]) -> list[JobStatus]:
        jobs = [place.job for place in places]
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
                found.append(status_of(job, fields, done))
        return found


def status_of(
    job: str,
    fields: dict[str, str],
    done: int,
    *,
    flags: Iterable[Flag] = (),
    params: dict[str, Any] | None = None,
) -> JobStatus:
    """Return a job's status from the fields of its hash ``m`` and the number of its records."""

    def number(name: str) -> int | None:
        return int(float(fields[name])) if fields.get(name) else None

    lost = number("lost") or 0
    return JobStatus(
        id=job,
        kind=fields["kind"],
        state=State(fields["state"]),
        version=fields.get("version", ""),
        created_ms=number("created") or 0,
        started_ms=number("started"),
        finished_ms=number("finished"),
        steps_done=done + (number("done") or 0) - lost,
        steps_total=(number("total") or 0) - lost,
        steps_lost=lost,
        flags=tuple(flags),
        params=params or {},
        error=loads(fields["error"]) if fields.get("error") else None,
        reason=fields.get("reason", ""),
    )
