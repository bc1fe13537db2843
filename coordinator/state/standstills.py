"""Jobs that stand still: which they are, and the two scripts that say so once. See ``lua/stall.lua``."""

from __future__ import annotations

from coordinator.state.steps import Steps


class Standstills(Steps):
    """The index ``stalled`` of each shard: jobs by the time of progress (ms) at which they stood still."""

    def quiet(self, shard: int, since_ms: int, limit: int) -> list[str]:
        """Return jobs that have not ended and that nothing has moved since then."""
        key = self.keys.index(shard, "active")
        return [job.decode() for job in self.client.zrangebyscore(key, "-inf", since_ms, start=0, num=limit)]

    def stalled(self, shard: int) -> list[str]:
        """Return the jobs that were said to stand still."""
        return [job.decode() for job in self.client.zrange(self.keys.index(shard, "stalled"), 0, -1)]

    def stall(self, job: str, since_ms: int, message: str) -> bool:
        """Note that a job stands still; returns whether that was news: see ``lua/stall.lua``."""
        keys = self.keys.named(job, "e active stalled alerts")
        return bool(self._run("stall", keys, [job, since_ms, message])[0] == "stalled")

    def recover(self, job: str) -> bool:
        """Note that a job goes on, where it does: see ``lua/recover.lua``."""
        keys = self.keys.named(job, "m e active stalled alerts")
        return bool(self._run("recover", keys, [job])[0] == "recovered")
