"""Check the workers: who answers, with which versions, kinds and clock."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence

from coordinator import about, registry
from coordinator.about import WorkerAbout
from coordinator.alerting.rounds import RULES, URLS
from coordinator.doctor import versions
from coordinator.doctor.finding import ERROR, OK, WARN, Finding, judged
from coordinator.doctor.redis import SKEW_S
from coordinator.parts import Parts


def check(parts: Parts) -> Iterator[Finding]:
    """Ask all workers at once and compare what they say with each other and with this process."""
    before = _redis_s(parts)
    workers = about.ask(parts.app, parts.settings)
    after = _redis_s(parts)
    yield judged(
        "workers",
        ", ".join(worker.name for worker in workers) or "none answered",
        "start one with `manage.py worker`; jobs wait until then (a worker with the solo pool answers only "
        "between steps)",
        fault="" if workers else WARN,
    )
    if not workers:
        return
    yield _versions(workers)
    yield from _kinds(workers)
    yield from versions.tasks(parts, workers)
    yield _clocks(workers, before, after)
    yield from _settings(workers, parts)


def _redis_s(parts: Parts) -> float:
    return parts.state.now_ms() / 1000


def _versions(workers: Sequence[WorkerAbout]) -> Finding:
    ours = about.versions()
    others = [
        f"{worker.name} has {name} {version} (here {ours[name]})"
        for worker in workers
        for name, version in worker.versions.items()
        if ours.get(name) != version
    ]
    found = "; ".join(others) or ", ".join(f"{name} {version}" for name, version in ours.items())
    return judged("versions", found, "bring all hosts to the same versions", fault=WARN if others else "")


def _kinds(workers: Sequence[WorkerAbout]) -> Iterator[Finding]:
    wanted = set(registry.kinds())
    missing = {worker.name: sorted(wanted - worker.kinds) for worker in workers if wanted - worker.kinds}
    if not missing:
        yield Finding("kinds", OK, f"all {len(wanted)} known to all workers")
    for name, kinds in missing.items():
        yield Finding(
            "kinds",
            ERROR,
            f"{name} doesn't know {', '.join(kinds)}",
            "start it with the same COORDINATOR_JOBS, where its modules can be imported",
        )


def _clocks(workers: Sequence[WorkerAbout], before_s: float, after_s: float) -> Finding:
    off = []
    for worker in workers:
        skew_s = max(worker.clock_s - after_s, before_s - worker.clock_s)
        if skew_s > SKEW_S:
            side = "before" if worker.clock_s > after_s else "behind"
            off.append(f"{worker.name} is {skew_s:.0f} s {side} Redis")
    return judged(
        "clocks",
        "; ".join(off) or "workers and Redis agree",
        "set the clocks of these hosts (NTP): `expires` and logs go by them; leases go by Redis' clock",
        fault=WARN if off else "",
    )


def _settings(workers: Sequence[WorkerAbout], parts: Parts) -> Iterator[Finding]:
    for name in ("lease_s", "tick_s"):
        values = Counter(worker.settings[name] for worker in workers)
        if len(values) > 1:
            yield Finding(
                "settings of workers",
                WARN,
                f"COORDINATOR_{name.upper()} differs: " + ", ".join(f"{value:g}" for value in sorted(values)),
                "set the same on all hosts: the lease is the one of the worker that runs a step",
            )
    yield from _channels(workers)
    hosts = {worker.host for worker in workers}
    if len(hosts) > 1 and parts.settings.blob_url.startswith(("file:", "/")):
        yield Finding(
            "large results",
            WARN,
            f"COORDINATOR_BLOB_URL is a folder, and workers run on {len(hosts)} hosts",
            "make sure that it is the same shared folder on all, or name an object store",
        )


def _channels(workers: Sequence[WorkerAbout]) -> Iterator[Finding]:
    """Say which workers know no channel for alerts, where others do, or we."""
    lacking = [worker.name for worker in workers if worker.settings.get("has_channels") is False]
    if lacking and (len(lacking) < len(workers) or os.environ.get(URLS, "").strip()):
        yield Finding(
            "alerts of workers",
            WARN,
            f"{', '.join(lacking)}: no {URLS}, so nobody is told while one of them reconciles",
            f"set {URLS} and {RULES} alike on all workers",
        )
