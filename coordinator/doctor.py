"""Check broker, Redis, settings and workers: each finding says what to do.

Owns the checks behind ``manage.py doctor``. Invariant: it changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from coordinator.alerting.rounds import load
from coordinator.errors import BatutaError, SettingsError
from coordinator.parts import Parts
from coordinator.settings import redacted


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    name: str
    level: str  # ok | warn | error
    found: str
    advice: str = ""

    @property
    def ok(self) -> bool:
        return self.level == "ok"


def findings(parts: Parts) -> list[Finding]:
    """Run every check; one that can't reach its part says so instead of raising."""
    found: list[Finding] = []
    for check in (_redis, _broker, _workers, _alerts):
        found += list(_guarded(check, parts))
    return found


def _guarded(check: Callable[[Parts], Iterator[Finding]], parts: Parts) -> Iterator[Finding]:
    try:
        yield from check(parts)
    except (BatutaError, RedisError, OperationalError, OSError) as error:
        yield Finding(check.__name__.strip("_"), "error", str(error), "see above; nothing works without it")


def _redis(parts: Parts) -> Iterator[Finding]:
    client = parts.state.client
    server: dict[str, Any] = client.info()
    version = server.get("valkey_version") or server["redis_version"]
    major = int(str(version).partition(".")[0])
    yield Finding(
        "redis",
        "ok" if major >= 7 else "error",
        f"version {version} at {redacted(parts.settings.redis_url)}",
        "" if major >= 7 else "use Redis 7 or newer, or Valkey",
    )
    aof = server.get("aof_enabled") == 1
    yield Finding(
        "persistence",
        "ok" if aof else "warn",
        "append-only file on" if aof else "append-only file off",
        "" if aof else "set appendonly yes: without it a restart of Redis forgets its last jobs",
    )
    yield _memory(parts)
    policy = server.get("maxmemory_policy", "noeviction")
    kept = policy == "noeviction" or not server.get("maxmemory")
    yield Finding(
        "eviction",
        "ok" if kept else "error",
        f"maxmemory-policy {policy}",
        "" if kept else "set maxmemory-policy noeviction: an evicted key is a lost job",
    )


def _memory(parts: Parts) -> Finding:
    lost_ms = parts.state.instance().get("came_back_empty")
    if lost_ms is None:
        return Finding("memory of jobs", "ok", "as it was left")
    return Finding(
        "memory of jobs",
        "error",
        f"Redis came back empty {(parts.state.now_ms() - int(lost_ms)) // 1000} s ago",
        f"jobs from before are forgotten: submit again what must run, then `redis-cli hdel "
        f"{parts.state.keys.instance} came_back_empty`",
    )


def _broker(parts: Parts) -> Iterator[Finding]:
    with parts.app.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, timeout=5)
        except Exception as error:  # kombu raises whatever its transport does
            yield Finding(
                "broker",
                "error",
                f"{redacted(parts.settings.broker_url)}: {str(error) or type(error).__name__}",
                "start it, or correct BROKER_URL",
            )
            return
        yield Finding("broker", "ok", redacted(parts.settings.broker_url))


def _alerts(_parts: Parts) -> Iterator[Finding]:
    try:
        _, names = load(os.environ)
    except SettingsError as error:
        yield Finding("alerts", "error", str(error), "correct it on all workers; until then nobody is told")
        return
    found = f"sent to {', '.join(names)}" if names else "in the log and the feed alone"
    yield Finding("alerts", "ok", found, "" if names else "COORDINATOR_ALERT_URLS names channels")


def _workers(parts: Parts) -> Iterator[Finding]:
    answers = parts.app.control.ping(timeout=1.0)
    names = sorted(name for answer in answers for name in answer)
    yield Finding(
        "workers",
        "ok" if names else "warn",
        ", ".join(names) or "none answered",
        "" if names else "start one with `manage.py worker`; jobs wait until then",
    )
