"""Every Redis key: its type, its owner and its life. Pure.

Invariant: all keys of one job, and the indexes it stands in, carry one hash
tag, so that one script may touch them all on a Redis Cluster. Jobs spread over
``SHARDS`` tags. Written ``<prefix>:{<shard>}:<name>`` for the indexes of a
shard and ``<prefix>:{<shard>}:<job>:<letter>`` for a job's own keys.

======== ======= ==============================================================
index    type    holds
======== ======= ==============================================================
jobs     zset    every job of the shard, by creation time (ms); pruned by the reconciler
active   zset    jobs that are received, processing or paused, by last progress (ms)
leases   zset    ``job|step`` by the time the lease ends (ms)
timers   zset    ``job|step`` by the time a retry is due, ``job|!deadline`` (ms)
outbox   zset    ``job|trigger`` by the time it was noted (ms, and parts): recorded, not known to be sent
alerts   stream  alerts of the shard, about 1,000 kept
events   stream  what happened to the jobs of the shard, about 2,000 events kept
counts   hash    how often what happened, for metrics: ``what|label|kind`` -> number
stalled  zset    jobs that were said to stand still, by the last progress (ms) that they had made
======== ======= ==============================================================

A job's own keys: ``m`` hash, what the job is, and the context of its trace; ``p`` string, the plan; ``r``
hash, the journal; ``x`` hash, errors of failed steps; ``g`` hash, the plans of
expanded steps; ``f`` hash, the flags; ``e`` stream, events, about 1,000 kept;
``a`` hash, attempts of steps that are unfinished or expanded; ``b`` hash, the barriers' counts, how many
steps stand in the place of one that expanded, and which steps have waited for their countdown.
``s`` hash, streams, their limits and the shares of their steps in flight; ``v``
hash, streams' records, pages and failed items (fields: ``lua/stream.lua``).
``a`` and ``b`` go when the job succeeds; the rest ``retention_s`` after its end.

Beside the shards: ``alerts:places`` hash, up to where each shard's alerts were
handed on; ``alerts:seen:…`` strings, what was said lately; ``alerts:line:…``
strings, how a channel is doing (``coordinator.alerting``); ``api:<token>:<minute>``
strings, requests (``coordinator.web.limits``). All but the first expire.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

SHARDS = 16

_STEP_ID = re.compile(r"(?P<job>[^:]+):(?P<key>\d+(?:/\d+)*)\.(?P<label>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Keys:
    """Makes key names under one prefix."""

    prefix: str = "batuta"

    def shard_of(self, job: str) -> int:
        return zlib.crc32(job.encode()) % SHARDS

    def index(self, shard: int, name: str) -> str:
        return f"{self.prefix}:{{{shard}}}:{name}"

    def named(self, job: str, names: str) -> list[str]:
        """Return keys by words: a letter is a key of the job, a longer word an index of its shard."""
        shard = self.shard_of(job)
        base = f"{self.prefix}:{{{shard}}}:"
        return [f"{base}{job}:{name}" if len(name) == 1 else base + name for name in names.split()]

    def channel(self, job: str) -> str:
        """The channel that tells when a job has ended."""
        return f"{self.prefix}:{{{self.shard_of(job)}}}:{job}!"

    @property
    def probes(self) -> str:
        """The zset of queues by the time (ms) at which the newest probe that came back was sent."""
        return f"{self.prefix}:probes"

    @property
    def joined(self) -> str:
        """The number of workers that have started so far."""
        return f"{self.prefix}:joined"

    @property
    def instance(self) -> str:
        """The hash that tells one life of Redis' memory from another; in the slot of shard 0."""
        return self.index(0, "instance")

    @property
    def reconciler(self) -> str:
        """The string that says which worker reconciles now."""
        return f"{self.prefix}:reconciler"


def step_id(job: str, key: str, label: str) -> str:
    """Return the Celery task id of a step: ``process_data-k3f9:3.clean[17]``."""
    return f"{job}:{key}.{label}"


def beside(keys: list[str]) -> tuple[str, str]:
    """Return the keys of the events and the counts of the shard that the keys belong to."""
    head = next(key for key in reversed(keys) if "}:" in key).partition("}:")[0]
    return f"{head}}}:events", f"{head}}}:counts"


def parse_step_id(task_id: str) -> tuple[str, str] | None:
    """Return (job, key) of a step's id, or None for the id of a task that is in no job."""
    match = _STEP_ID.fullmatch(task_id)
    return (match["job"], match["key"]) if match else None
