"""Check broker, Redis, settings, clocks, workers and queues: each finding says what to do.

Owns the checks behind ``manage.py doctor`` and their order. Invariants: it changes nothing,
and it answers within 5 s whatever is broken: what can't be reached is tried once, and what
stands behind it is not tried at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from coordinator import tracing
from coordinator.alerting.rounds import load
from coordinator.doctor import broker, redis, versions, workers
from coordinator.doctor.finding import ERROR, OK, WARN, Finding
from coordinator.errors import BatutaError, SettingsError
from coordinator.parts import Parts
from coordinator.settings import Settings
from coordinator.variables import strangers

__all__ = ["Finding", "findings"]

#: A lease must outlive this many of the ticks that renew it: one may be late, one may be lost.
TICKS_A_LEASE = 3


def findings(parts: Parts) -> list[Finding]:
    """Run every check; one that can't reach its part says so instead of raising."""
    found = [*_guarded("settings", lambda: settings(parts.settings))]
    found += _guarded("redis", lambda: redis.server(parts))
    has_redis = not _is_away(found, "redis")
    found += _guarded("broker", lambda: broker.server(parts, has_redis=has_redis))
    has_broker = not _is_away(found, "broker")
    if has_redis:
        found += _guarded("jobs", lambda: redis.jobs(parts))
        found += _guarded("versions of jobs", lambda: versions.versions(parts))
    if has_broker and has_redis:
        found += _guarded("workers", lambda: workers.check(parts))
    else:
        part = "Redis" if has_broker else "the broker"
        found.append(Finding("workers", WARN, f"not asked: {part} can't be used", f"mend {part} first"))
    return [*found, *_alerts(), *_traces()]


def settings(chosen: Settings) -> Iterator[Finding]:
    """Check the settings that can't be wrong one by one, but together."""
    least_s = TICKS_A_LEASE * chosen.tick_s
    faults = []
    if chosen.lease_s < least_s:
        faults.append(
            f"COORDINATOR_LEASE_S is {chosen.lease_s:g} and COORDINATOR_TICK_S {chosen.tick_s:g}: a "
            "lease that is renewed once a tick can run out under a step that lives; "
            f"set it to {least_s:g} or more"
        )
    if chosen.queue_type == "quorum" and chosen.broker_url.startswith(("redis", "rediss")):
        faults.append("COORDINATOR_QUEUE_TYPE is quorum, which a Redis broker doesn't have; leave it out")
    for fault in faults:
        found, _, advice = fault.rpartition("; ")
        yield Finding("settings", ERROR, found, advice)
    for stranger in strangers():
        found, _, advice = stranger.rpartition("; ")
        yield Finding("settings", WARN, found, advice)
    if not faults:
        yield Finding("settings", OK, f"lease {chosen.lease_s:g} s, tick {chosen.tick_s:g} s")


def _is_away(found: Iterable[Finding], name: str) -> bool:
    return any(finding.name == name and finding.level == ERROR for finding in found)


def _guarded(name: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except (BatutaError, RedisError, OperationalError, OSError) as error:
        yield Finding(name, ERROR, str(error), "see above; nothing works without it")


def _alerts() -> Iterator[Finding]:
    try:
        _, names = load(os.environ)
    except SettingsError as error:
        yield Finding("alerts", ERROR, str(error), "correct it on all workers; until then nobody is told")
        return
    found = f"sent to {', '.join(names)}" if names else "the log and the feed alone, as far as is set here"
    yield Finding("alerts", OK, found, "" if names else "COORDINATOR_ALERT_URLS names channels")


def _traces() -> Iterator[Finding]:
    if tracing.is_on():
        yield Finding("traces", OK, "one for each job, by OpenTelemetry")
    elif tracing.is_configured():
        found = (
            "OpenTelemetry's variables say where traces go, but its instrumentation of Celery is not there"
        )
        yield Finding(
            "traces", WARN, found, "install Batuta with its extra otel, or set OTEL_SDK_DISABLED=true"
        )
