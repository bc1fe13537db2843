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
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import celery
from celery import Celery
from celery.worker.control import inspect_command
from kombu import Connection

from coordinator import __version__, registry
from coordinator.errors import BrokerUnreachable
from coordinator.limits import is_expendable
from coordinator.queues import connect
from coordinator.settings import Settings, redacted

COMMAND = "batuta"
ANSWER_S = 1.0


@dataclass(frozen=True, slots=True)
class WorkerAbout:
    """One worker's answer."""

    name: str
    host: str
    machine: str  # see ``machine``
    pid: int
    born: str  # see ``birth``
    is_expendable: bool  # one of a fleet, which starts another in its place
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


def machine() -> str:
    """Return what two processes that can kill each other have in common: host, boot and pid namespace."""
    found = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            found.append(
                str(Path(path).readlink()) if path.endswith("pid") else Path(path).read_text().strip()
            )
        except OSError:  # no Linux
            found.append("")
    return " ".join(found)


def birth(pid: int) -> str:
    """Return when a process was born, such that a later one with its pid differs; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
    said = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return said.stdout.strip()


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
        "machine": machine(),
        "pid": os.getpid(),
        "born": birth(os.getpid()),
        "is_expendable": is_expendable(),
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
            "has_channels": bool(os.environ.get("COORDINATOR_ALERT_URLS", "").strip()),
        },
    }


def ask(app: Celery, settings: Settings, timeout_s: float = ANSWER_S) -> list[WorkerAbout]:
    """Ask every worker, and return the answers of ours, by name.

    Raises:
        BrokerUnreachable: also where it blocks publishers.
    """
    found = []
    with connect(app) as connection:  # not one of the pool's, which a broker that was restarted has closed
        replies = _broadcast(app, connection, timeout_s)
    for reply in replies:
        for name, said in reply.items():
            if isinstance(said, dict) and said.get("place") == place(settings):
                found.append(_read(name, said))
    return sorted(found, key=lambda about: about.name)


def _broadcast(app: Celery, connection: Connection, timeout_s: float) -> list[dict[str, Any]]:
    mailbox = app.control.mailbox(connection)
    mailbox.producer_pool = None  # publish by this connection too
    blocked: list[str] = []
    is_amqp = connection.transport.driver_type == "amqp"
    if is_amqp:
        connection.connection.on_blocked = blocked.append
    try:
        replies: list[dict[str, Any]] = mailbox.multi_call(COMMAND, timeout=timeout_s) or []
    except TimeoutError as error:
        blocked = blocked or [str(error) or "no answer"]
    except connection.channel_errors as error:  # its user may not make the queue that they answer to
        raise BrokerUnreachable(
            f"the broker at {redacted(app.conf.broker_url or '')} lets nobody be asked: {error}; "
            "give its user the right to configure, read and write, as workers need"
        ) from error
    if blocked:
        connection.connection.collect()  # a polite close would not be answered either
        raise BrokerUnreachable(
            f"the broker at {redacted(app.conf.broker_url or '')} takes no message: {blocked[0]}; "
            "give it memory or disk"
        )
    return replies


def _read(name: str, said: dict[str, Any]) -> WorkerAbout:
    return WorkerAbout(
        name=name,
        host=said["host"],
        machine=said["machine"],
        pid=said["pid"],
        born=said["born"],
        is_expendable=said["is_expendable"],
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
