"""Jobs that nothing has moved for a while: found once, and again ever less often while they stay so.

Owns when each quiet job is looked at. Invariant: every job that has been quiet for
long enough is found, however many there are: the index is read from where the last
reading ended, and from its beginning now and then, for a Redis that lost its last
second holds older times. A job that stays quiet costs no reading between two looks.
What a look does is the caller's.
"""

from __future__ import annotations

import heapq
import random
import time
from dataclasses import dataclass

from coordinator.state import StateManager

#: Found in one reading, in each shard. Far more than the jobs that can move in the same millisecond.
AT_ONCE = 500
#: A job that stays quiet is looked at again after so many times the pause of before, up to the longest.
GROWTH, LONGEST_PAUSE_S = 4, 300.0
#: So that jobs which were submitted together are not all looked at together.
SPREAD = (0.7, 1.3)
#: How often the index is read from its beginning.
WHOLE_EVERY_S = 60.0


@dataclass(slots=True)
class _Look:
    moved_ms: int  # when the job moved last
    pause_s: float
    at: float  # monotonic
    is_first: bool = True  # since it moved


class QuietJobs:
    """Says which quiet jobs are to be looked at now. For one thread.

    Args:
        state: where the jobs are.
        quiet_s: a job is quiet after so long without progress.
    """

    def __init__(self, state: StateManager, quiet_s: float) -> None:
        self._state = state
        self._quiet_s = quiet_s
        self.start_over()

    def start_over(self) -> None:
        """Look at all quiet jobs again, as if none had been seen."""
        self._looks: dict[str, _Look] = {}
        self._heap: list[tuple[float, str]] = []
        self._read_whole()

    def look_soon(self, job: str) -> None:
        """Look at a job as if it had just become quiet: something was sent for it."""
        if look := self._looks.get(job):
            self._plan(job, _Look(look.moved_ms, self._quiet_s, time.monotonic() + self._quiet_s))

    def due(self, limit: int) -> list[tuple[str, bool]]:
        """Return quiet jobs whose look is due, and whether it is the first since they moved."""
        self._find()
        jobs = self._ripe(limit)
        due: list[tuple[str, bool]] = []
        for job, moved_ms in zip(jobs, self._state.moved_ms(jobs), strict=True):
            look = self._looks[job]
            if moved_ms != look.moved_ms:  # ended, or moved: it is found when it is quiet again
                del self._looks[job]
                continue
            pause_s = min(look.pause_s * GROWTH, LONGEST_PAUSE_S)
            at = time.monotonic() + look.pause_s * random.uniform(*SPREAD)  # noqa: S311  no secret
            self._plan(job, _Look(moved_ms, pause_s, at, is_first=False))
            due.append((job, look.is_first))
        return due

    def _read_whole(self) -> None:
        self._read_ms = [0] * len(self._state.shards)  # up to where each shard's index was read
        self._whole_at = time.monotonic()

    def _find(self) -> None:
        if time.monotonic() - self._whole_at > WHOLE_EVERY_S:
            self._read_whole()
        until_ms = self._state.now_ms() - int(self._quiet_s * 1000)
        pages = self._state.quiet(self._read_ms, until_ms, AT_ONCE)
        for shard, page in enumerate(pages):
            for job, moved_ms in page:
                known = self._looks.get(job)
                if known is None or known.moved_ms != moved_ms:
                    self._plan(job, _Look(moved_ms, self._quiet_s, time.monotonic()))
            self._read_ms[shard] = page[-1][1] if len(page) == AT_ONCE else until_ms

    def _plan(self, job: str, look: _Look) -> None:
        self._looks[job] = look
        heapq.heappush(self._heap, (look.at, job))

    def _ripe(self, limit: int) -> list[str]:
        """Take the jobs whose time has come off the heap; what was planned otherwise since is passed over."""
        now = time.monotonic()
        jobs: list[str] = []
        while self._heap and self._heap[0][0] <= now and len(jobs) < limit:
            at, job = heapq.heappop(self._heap)
            look = self._looks.get(job)
            if look and look.at == at:
                jobs.append(job)
        return jobs
