"""Jobs that stand still: which they are, and the two scripts that say so once. See ``lua/stall.lua``."""

from __future__ import annotations

from collections.abc import Sequence

from coordinator.state.steps import Steps


class Standstills(Steps):
    """The index ``stalled`` of each shard: jobs by the time of progress (ms) at which they stood still."""

    def quiet(self, since_ms: Sequence[int], until_ms: int, limit: int) -> list[list[tuple[str, int]]]:
        """Return, for each shard, jobs that have not ended with when they moved last (ms), oldest first.

        Args:
            since_ms: moved at this time or later, by shard.
            until_ms: and not after this.
            limit: so many of each shard at most.
        """
        with self._reaching:
            pipe = self.client.pipeline(transaction=False)
            for shard, since in enumerate(since_ms):
                key = self.keys.index(shard, "active")
                pipe.zrangebyscore(key, since, until_ms, start=0, num=limit, withscores=True)
            return [[(job.decode(), int(ms)) for job, ms in page] for page in pipe.execute()]

    def moved_ms(self, jobs: Sequence[str]) -> list[int | None]:
        """Return when jobs moved last (ms); None for those that have ended."""
        if not jobs:
            return []
        with self._reaching:
            pipe = self.client.pipeline(transaction=False)
            for job in jobs:
                pipe.zscore(self.keys.named(job, "active")[0], job)
            return [None if ms is None else int(ms) for ms in pipe.execute()]

    def forget_quiet(self, job: str) -> None:
        """Look no more for progress of a job that is kept no longer."""
        with self._reaching:
            self.client.zrem(self.keys.named(job, "active")[0], job)

    def prune(self, shard: int, start: int, limit: int) -> int:
        """Take jobs that are kept no longer out of a shard's index.

        Args:
            shard: which.
            start: how many of the oldest to pass over.
            limit: how many to look at.

        Returns:
            where to go on: 0 at the end of those that can have gone.
        """
        until_ms = self.now_ms() - self._retention_s * 1000
        with self._reaching:
            index = self.keys.index(shard, "jobs")
            found = [
                job.decode()
                for job in self.client.zrangebyscore(index, "-inf", until_ms, start=start, num=limit)
            ]
        if not found:
            return 0
        metas = [self.keys.named(job, "m")[0] for job in found]
        gone = int(self._run("prune", [index, *metas], found)[0])
        return start + len(found) - gone if len(found) == limit else 0

    def moved_again(self) -> list[str]:
        """Return the jobs that were said to stand still, and that have moved or ended since."""
        with self._reaching:
            pipe = self.client.pipeline(transaction=False)
            for shard in self.shards:
                pipe.zrange(self.keys.index(shard, "stalled"), 0, -1, withscores=True)
            stood = {job.decode(): int(ms) for page in pipe.execute() for job, ms in page}
        moved = self.moved_ms(list(stood))
        return [job for (job, ms), now_ms in zip(stood.items(), moved, strict=True) if ms != now_ms]

    def stall(self, job: str, since_ms: int, message: str) -> bool:
        """Note that a job stands still; returns whether that was news: see ``lua/stall.lua``."""
        keys = self.keys.named(job, "e active stalled alerts")
        return bool(self._run("stall", keys, [job, since_ms, message])[0] == "stalled")

    def recover(self, job: str) -> bool:
        """Note that a job goes on, where it does: see ``lua/recover.lua``."""
        keys = self.keys.named(job, "m e active stalled alerts")
        return bool(self._run("recover", keys, [job])[0] == "recovered")
