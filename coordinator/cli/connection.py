"""Which servers a command talks to: the configured ones, or the embedded one of COORDINATOR_HOME.

Invariant: BROKER_URL and REDIS_URL are set in the environment before
``coordinator.app`` is imported, so that the application and its workers agree.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from coordinator.errors import BatutaError, BrokerUnreachable, SettingsError, StateUnreachable
from coordinator.reach import unreachable
from coordinator.settings import Settings, redacted

if TYPE_CHECKING:
    from coordinator.coordinator import Coordinator
    from coordinator.embedded import Embedded
    from coordinator.embedded.worker import WorkerProcess

PROBE_S = 0.3
# For a step that still runs when its command ends: it is not lost, and nobody likes to wait after Ctrl-C.
GRACE_S = 3.0
# Celery takes seconds to end a worker, also one that has nothing left to do but to acknowledge.
IDLE_GRACE_S = 0.3


@dataclass
class Opened:
    """A façade, where its jobs are kept, and what must be stopped after it."""

    coordinator: Coordinator
    place: str
    is_embedded: bool = False
    worker: WorkerProcess | None = None
    stack: ExitStack = field(default_factory=ExitStack)

    def check(self) -> None:
        """Make sure that a private worker still runs: nobody else would do its work.

        Raises:
            BrokerUnreachable: it has ended; the message names its log.
        """
        if self.worker and not self.worker.is_alive():
            raise BrokerUnreachable(f"the private worker has ended; its log is {self.worker.log}")

    def close(self) -> None:
        """Stop what was started."""
        self.stack.close()


def open_coordinator(*, worker: bool, say: Callable[[str], None]) -> Opened:
    """Connect to the configured servers, or to the embedded one.

    Args:
        worker: where the server is embedded, start a worker too.
        say: told which servers are used.
    """
    settings = Settings.from_env()
    if settings.is_embedded:
        return _open_embedded(worker=worker, say=say)
    say(f"broker {redacted(settings.broker_url)}, state {redacted(settings.redis_url)}")
    return Opened(_facade(), redacted(settings.redis_url))


def start_embedded(stack: ExitStack, say: Callable[[str], None]) -> Embedded:
    """Start, or join, the embedded server and point the environment at it."""
    from coordinator.embedded import Embedded

    embedded = Embedded()
    embedded.start()
    stack.callback(embedded.stop, GRACE_S)
    os.environ.update(embedded.environment())
    say(f"embedded server {redacted(embedded.redis_url)}, kept in {embedded.home.folder}")
    return embedded


def loaded_registry() -> ModuleType:
    """Return the registry with all kinds in it; it needs no server, and starts none."""
    from coordinator import registry
    from coordinator.app import load_jobs

    load_jobs(Settings.from_env())
    return registry


def running_coordinator() -> Coordinator:
    """Return a façade on servers that run already: nothing is started, and a dead server costs no time.

    Raises:
        StateUnreachable: when none runs.
    """
    settings = Settings.from_env()
    if settings.is_embedded:
        if not is_embedded_running():
            raise StateUnreachable("no embedded server runs")
        return open_coordinator(worker=False, say=lambda _: None).coordinator
    if fault := unreachable(settings.redis_url, PROBE_S):
        raise StateUnreachable(f"Redis does not answer: {fault}")
    return _facade()


def is_embedded_running() -> bool:
    """Whether another process runs the embedded server."""
    from coordinator.embedded.home import Home
    from coordinator.embedded.server import ADDRESS, answer

    address = Home.at().read_json(ADDRESS)
    return bool(address) and answer(int(address["port"]), str(address["password"])) == "ready"


def _open_embedded(*, worker: bool, say: Callable[[str], None]) -> Opened:
    stack = ExitStack()
    try:
        embedded = start_embedded(stack, say)
        started = embedded.start_worker() if worker else None
        coordinator = _facade()
        _refuse_other_servers(coordinator, embedded.broker_url)
        if started:
            stack.callback(_end_if_idle, started, coordinator)
        return Opened(coordinator, _near(embedded.home.folder), True, started, stack)
    except BaseException:
        stack.close()
        raise


def _refuse_other_servers(coordinator: Coordinator, embedded_url: str) -> None:
    """Refuse a project's application with servers of its own: its workers know nothing of a private one."""
    broker_url = coordinator.settings.broker_url
    if broker_url != embedded_url:
        raise SettingsError(
            f"COORDINATOR_JOBS names the application {coordinator.app.main!r}, whose broker is at "
            f"{redacted(broker_url)}; set BROKER_URL to it, and REDIS_URL to the Redis of its jobs"
        )


def _end_if_idle(worker: WorkerProcess, coordinator: Coordinator) -> None:
    """Don't wait for a private worker when every job has ended."""
    with suppress(BatutaError):
        if not coordinator.state_manager.counts()["active"]:
            worker.ask_to_stop(IDLE_GRACE_S)


def _facade() -> Coordinator:
    from coordinator import Coordinator

    return Coordinator.from_settings()


def _near(folder: Path) -> str:
    return str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)
