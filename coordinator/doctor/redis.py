"""Check Redis: that it answers, keeps what it is given, and holds what it held.

Owns the findings about the server and about what lies in it. Leaves its clients'
retries alone: it asks once, on a connection of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from redis.exceptions import RedisError

from coordinator.counted import counted
from coordinator.doctor import cluster
from coordinator.doctor.connection import once
from coordinator.doctor.finding import ERROR, OK, WARN, Finding, judged
from coordinator.parts import Parts
from coordinator.settings import is_cluster, redacted

#: From this part of the memory that there is on, writes may soon be refused.
FULL = 0.85
#: A clock further off is said: logs, `expires` and times that people read go wrong, leases never do.
SKEW_S = 2.0
#: An outbox entry that is older was not sent by whoever noted it, nor by a reconciler.
LEFT_S = 30.0


def server(parts: Parts) -> Iterator[Finding]:
    """Check the server, or a cluster's primaries; an error that is named ``redis`` says it can't be used."""
    url = parts.settings.redis_url
    try:
        nodes = [url]
        if is_cluster(url):
            nodes, found = cluster.look(url)
            yield found
        found_on = {node: _judge(node, *_ask(node)) for node in nodes}
    except (RedisError, OSError) as error:
        yield Finding("redis", ERROR, f"{redacted(url)}: {error}", "start it, or correct REDIS_URL")
        return
    yield from cluster.worst(found_on)


def _judge(url: str, said: dict[str, Any], skew_s: float) -> list[Finding]:
    version = str(said.get("valkey_version") or said["redis_version"])
    is_old = int(version.partition(".")[0]) < 7
    is_replica = said.get("role") == "slave"
    policy = said.get("maxmemory_policy", "noeviction")
    evicts = policy != "noeviction" and bool(said.get("maxmemory"))
    return [
        judged(
            "redis",
            f"{version} at {redacted(url)}",
            "use Redis 7 or newer, or Valkey",
            fault=ERROR if is_old else "",
        ),
        judged(
            "redis role",
            f"replica of {said.get('master_host')}:{said.get('master_port')}" if is_replica else "primary",
            "let REDIS_URL name the primary: a replica refuses writes, or loses them",
            fault=ERROR if is_replica else "",
        ),
        _persistence(said),
        judged(
            "eviction",
            f"maxmemory-policy {policy}",
            "set maxmemory-policy noeviction: an evicted key is a lost job",
            fault=ERROR if evicts else "",
        ),
        _memory(said),
        judged(
            "clock here",
            f"{abs(skew_s):.1f} s {'before' if skew_s > 0 else 'behind'} Redis'",
            "set this host's clock (NTP): times that people read are wrong; leases go by Redis' clock",
            fault=WARN if abs(skew_s) > SKEW_S else "",
        ),
    ]


def jobs(parts: Parts) -> Iterator[Finding]:
    """Check what lies in Redis: whether it is all still there, and whether it is being worked on."""
    state = parts.state
    lost_ms = state.instance().get("came_back_empty")
    if lost_ms is None:
        yield Finding("memory of jobs", OK, "as it was left")
    else:
        yield Finding(
            "memory of jobs",
            ERROR,
            f"Redis came back empty {(state.now_ms() - int(lost_ms)) // 1000} s ago",
            "jobs from before are forgotten: submit again what must run, then `redis-cli hdel "
            f"{state.keys.instance} came_back_empty`",
        )
    holder = state.client.get(state.keys.reconciler)
    name = holder.decode().partition("~")[0] if holder else ""
    yield judged(
        "reconciler",
        f"in {name}" if name else "in no worker",
        "start a worker: without one nothing that was lost is found, and no retry or deadline comes due",
        fault="" if name else WARN,
    )
    until_ms = state.now_ms() - int(LEFT_S * 1000)
    left = sum(
        state.client.zcount(state.keys.index(shard, "outbox"), "-inf", until_ms) for shard in state.shards
    )
    yield judged(
        "outbox",
        f"{counted(left, 'entry', 'entries')} older than {LEFT_S:g} s" if left else "nothing is left unsent",
        "they could not be sent: look at the broker, and for `reconcile-failed` in the workers' logs",
        fault=WARN if left else "",
    )


def _ask(url: str) -> tuple[dict[str, Any], float]:
    """Return what the server says of itself, and how far our clock is before its own (s)."""
    with once(url) as client:
        before = time.time()
        seconds, micros = client.time()
        ours = (before + time.time()) / 2
        return client.info(), ours - (int(seconds) + int(micros) / 1e6)


def _persistence(said: dict[str, Any]) -> Finding:
    if said.get("rdb_last_bgsave_status", "ok") != "ok":
        return Finding(
            "persistence",
            ERROR,
            "the last snapshot failed: where `save` is set, writes are refused (stop-writes-on-bgsave-error)",
            "look at Redis' disk, memory (vm.overcommit_memory) and log; `redis-cli bgsave` tries again",
        )
    if said.get("aof_enabled") != 1:
        return Finding(
            "persistence",
            WARN,
            "append-only file off",
            "set appendonly yes: without it a restart of Redis forgets its last jobs",
        )
    if said.get("aof_last_write_status", "ok") != "ok":
        return Finding(
            "persistence", ERROR, "the append-only file can't be written", "look at Redis' disk and its log"
        )
    return Finding("persistence", OK, "append-only file on")


def _memory(said: dict[str, Any]) -> Finding:
    used = int(said["used_memory"])
    limit = int(said.get("maxmemory") or said.get("total_system_memory") or 0)
    if not limit:
        return Finding("redis memory", OK, f"{_mb(used)} used")
    share = used / limit
    return judged(
        "redis memory",
        f"{_mb(used)} of {_mb(limit)} used",
        "raise maxmemory, or keep finished jobs for less long (COORDINATOR_RETENTION_S)",
        fault=ERROR if share >= 1 else WARN if share >= FULL else "",
    )


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f} MB"
