"""What a worker says of itself when it is asked: versions, kinds, tasks, clock.

Owns Celery's remote control command ``batuta`` and the asking. Invariant: a worker of
another application on the same broker is never taken for one of ours: it must name the
same Redis prefix and the same Redis. A worker with the solo pool answers only between steps.
"""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import celery
from celery import Celery
from celery.worker.control import inspect_command

from coordinator import __version__, registry
from coordinator.queues import connect
from coordinator.settings import Settings

COMMAND = "batuta"
ANSWER_S = 1.0


@dataclass(frozen=True, slots=True)
class WorkerAbout:
    """One worker's answer."""

    name: str
    host: str
    pid: int
    children: tuple[int, ...]
    clock_s: float  # its wall clock, seconds since the epoch
    versions: dict[str, str]
    kinds: frozenset[str]
    tasks: frozenset[str]
    queues: frozenset[str]
    settings: dict[str, Any]


def clock_s() -> float:
    """Return this host's wall clock."""
    return time.time()


def versions() -> dict[str, str]:
    """Return the versions that workers and submitters should have in common."""
    return {
        "batuta": __version__,
        "celery": celery.__version__,
        "python": platform.python_version().rpartition(".")[0],
    }


def place(settings: Settings) -> str:
    """Return what two processes that work on the same jobs have in common, without a secret."""
    url = urlsplit(settings.redis_url)
    text = f"{settings.prefix} {url.path.strip('/') or '0'}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@inspect_command(name=COMMAND, visible=False)
def answer(state: Any, **_: Any) -> dict[str, Any]:
    """Answer for this worker."""
    parts = state.app.parts
    settings: Settings = parts.settings
    return {
        "place": place(settings),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "children": _children(state),
        "clock_s": clock_s(),
        "versions": versions(),
        "kinds": registry.kinds(),
        "tasks": sorted(name for name in state.app.tasks if not name.startswith("celery.")),
        "queues": [queue.name for queue in state.consumer.task_consumer.queues],
        "settings": {
            "lease_s": settings.lease_s,
            "tick_s": settings.tick_s,
            "blob_url": bool(settings.blob_url),
        },
    }


def ask(app: Celery, settings: Settings, timeout_s: float = ANSWER_S) -> list[WorkerAbout]:
    """Ask every worker, and return the answers of ours, by name.

    Raises:
        BrokerUnreachable.
    """
    with connect(app) as connection:  # not one of the pool's, which a broker that was restarted has closed
        replies = app.control.broadcast(COMMAND, reply=True, timeout=timeout_s, connection=connection) or []
    found = []
    for reply in replies:
        for name, said in reply.items():
            if isinstance(said, dict) and said.get("place") == place(settings):
                found.append(_read(name, said))
    return sorted(found, key=lambda about: about.name)


def _read(name: str, said: dict[str, Any]) -> WorkerAbout:
    return WorkerAbout(
        name=name,
        host=said["host"],
        pid=said["pid"],
        children=tuple(said["children"]),
        clock_s=said["clock_s"],
        versions=said["versions"],
        kinds=frozenset(said["kinds"]),
        tasks=frozenset(said["tasks"]),
        queues=frozenset(said["queues"]),
        settings=said["settings"],
    )


def _children(state: Any) -> list[int]:
    """Return the pids of the pool's children; a pool without any has none."""
    pool = getattr(getattr(state.consumer, "pool", None), "_pool", None)
    return [process.pid for process in getattr(pool, "_pool", ())]
