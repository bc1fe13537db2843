"""Prometheus metrics of all jobs, read from Redis when they are asked for.

Owns the metrics' names. Invariants: one round trip a scrape, whose cost grows
with the kinds of job and not with the jobs; and the same numbers wherever they are
read, for the scripts count them where they happen (``state/lua/prelude.lua``). Where Redis can't be
reached, ``batuta_redis_up`` is 0 and nothing else is said.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry
from redis.exceptions import RedisError

from coordinator.errors import BatutaError
from coordinator.state import StateManager
from coordinator.states import TERMINAL, State

#: Sorted sets of each shard whose size is told.
SIZES = {
    "jobs": ("batuta_jobs_kept", "Jobs that Redis holds, ended ones included."),
    "outbox": ("batuta_outbox_entries", "Recorded, and not known to be sent."),
    "leases": ("batuta_leases", "Steps that run."),
    "timers": ("batuta_timers", "Retries and deadlines that wait."),
    "stalled": ("batuta_jobs_stalled", "Jobs that stand still."),
}
#: Events that are metrics of their own.
EVENTS = {
    "redriven": ("batuta_redrives", "Times that lost or left steps were sent again."),
    "fenced": ("batuta_fenced_writes", "Results of a late attempt that were refused."),
    "retry": ("batuta_step_retries", "Retries that a step asked for."),
    "lease-lost": ("batuta_processes_lost", "Leases given back because the step's process died."),
    "lease-expired": ("batuta_leases_expired", "Leases that ran out: their worker died or hung."),
}
#: Upper ends of the histograms' buckets (s), as ``state/lua/prelude.lua`` has them.
BUCKETS = ("0.1", "0.5", "1", "5", "15", "60", "300", "900", "3600", "14400", "86400", "+Inf")
ACTIVE = tuple(str(state) for state in State if state not in TERMINAL)

logger = logging.getLogger(__name__)

Counts = dict[tuple[str, str, str], int]  # (what, label, kind of job) -> number


class JobsCollector(Collector):
    """Collects what Redis has counted; to be registered with any registry of prometheus_client.

    Args:
        state_of: returns where to look; called at each scrape, so that nothing connects before.
    """

    def __init__(self, state_of: Callable[[], StateManager]) -> None:
        self._state_of = state_of

    def describe(self) -> Iterable[Metric]:
        """Say nothing, so that registering asks Redis nothing."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        up = GaugeMetricFamily("batuta_redis_up", "Whether Redis could be asked.")
        try:
            counts, sizes, oldest_s, is_reconciled = self._read()
        except (BatutaError, RedisError) as error:
            logger.warning("metrics-unreadable: %s", error)
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from _jobs(counts)
        yield from _histograms(counts)
        yield from _events(counts)
        for name, (metric, says) in SIZES.items():
            yield GaugeMetricFamily(metric, says, value=sizes[name])
        yield GaugeMetricFamily(
            "batuta_reconciler_up", "Whether a worker repairs and hands on alerts.", value=is_reconciled
        )
        yield GaugeMetricFamily(
            "batuta_outbox_oldest_seconds", "Age of the oldest outbox entry.", value=oldest_s
        )

    def _read(self) -> tuple[Counts, dict[str, int], float, bool]:
        state = self._state_of()
        keys = state.keys
        pipe = state.client.pipeline(transaction=False)
        pipe.time()
        pipe.exists(keys.reconciler)
        for shard in state.shards:
            pipe.hgetall(keys.index(shard, "counts"))
            pipe.zrange(keys.index(shard, "outbox"), 0, 0, withscores=True)
            for name in SIZES:
                pipe.zcard(keys.index(shard, name))
        (seconds, micros), reconciler, *answers = pipe.execute()
        width = 2 + len(SIZES)
        counts: Counts = {}
        sizes = dict.fromkeys(SIZES, 0)
        oldest_ms = now_ms = int(seconds) * 1000 + int(micros) // 1000
        for start in range(0, len(answers), width):
            found, oldest, *cards = answers[start : start + width]
            _add(counts, found)
            oldest_ms = min([oldest_ms, *(int(score) for _, score in oldest)])
            for name, size in zip(SIZES, cards, strict=True):
                sizes[name] += size
        return counts, sizes, (now_ms - oldest_ms) / 1000, bool(reconciler)


def make_registry(state: StateManager) -> CollectorRegistry:
    """Return a registry with the metrics of jobs, and nothing of this process."""
    registry = CollectorRegistry()
    registry.register(JobsCollector(lambda: state))
    return registry


def _add(counts: Counts, found: dict[bytes, bytes]) -> None:
    for field, number in found.items():
        what, label, kind = field.decode("utf-8", "replace").split("|", 2)
        counts[what, label, kind] = counts.get((what, label, kind), 0) + int(number)


def _jobs(counts: Counts) -> Iterator[Metric]:
    total = CounterMetricFamily("batuta_jobs", "Jobs that came into a state.", labels=["kind", "state"])
    present = GaugeMetricFamily(
        "batuta_jobs_active", "Jobs that are in a state now.", labels=["kind", "state"]
    )
    for (what, state, kind), number in sorted(counts.items()):
        if what != "in":
            continue
        total.add_metric([kind, state], number)
        if state in ACTIVE:
            present.add_metric([kind, state], number - counts.get(("out", state, kind), 0))
    yield total
    yield present


def _histograms(counts: Counts) -> Iterator[Metric]:
    wait = HistogramMetricFamily(
        "batuta_job_wait_seconds", "From a job's submit to its first step's begin.", labels=["kind"]
    )
    took = HistogramMetricFamily(
        "batuta_job_duration_seconds", "From a job's submit to its end.", labels=["kind", "state"]
    )
    for what, kind in sorted({(what, kind) for what, _, kind in counts}):
        name, _, state = what.partition(":")
        if name not in ("wait", "took"):
            continue
        found = {label: number for (w, label, k), number in counts.items() if (w, k) == (what, kind)}
        sum_s = found.pop("sum", 0) / 1000
        labels = [kind, state] if state else [kind]
        (took if state else wait).add_metric(labels, _cumulative(found), sum_s)
    yield wait
    yield took


def _cumulative(found: dict[str, int]) -> list[Any]:
    buckets, sum_ = [], 0
    for label in sorted({*BUCKETS, *found}, key=float):
        sum_ += found.get(label, 0)
        buckets.append((str(float(label)).replace("inf", "+Inf"), float(sum_)))
    return buckets


def _events(counts: Counts) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "batuta_steps_recorded",
        "Results that were recorded.",
        value=counts.get(("recorded", "", ""), 0),
    )
    for event, (metric, says) in EVENTS.items():
        yield CounterMetricFamily(metric, says, value=counts.get(("event", event, ""), 0))
    yield CounterMetricFamily(
        "batuta_dead_letters",
        "Steps that were given up because they ended their process every time.",
        value=counts.get(("alert", "dead-letter", ""), 0),
    )
    alerts = CounterMetricFamily("batuta_alerts", "Alerts that were raised.", labels=["alert"])
    for (what, alert, _), number in sorted(counts.items()):
        if what == "alert":
            alerts.add_metric([alert], number)
    yield alerts
