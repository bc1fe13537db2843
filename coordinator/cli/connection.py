"""Which servers a command talks to: the configured ones, or the embedded one of COORDINATOR_HOME.

Invariant: BROKER_URL and REDIS_URL are set in the environment before
``coordinator.app`` is imported, so that the application and its workers agree.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coordinator.settings import Settings, redacted

if TYPE_CHECKING:
    from coordinator.coordinator import Coordinator


@dataclass
class Opened:
    """A façade and what must be stopped after it."""

    coordinator: Coordinator
    stack: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        self.stack.close()


def open_coordinator(*, worker: bool, say: Callable[[str], None]) -> Opened:
    """Connect to the configured servers, or start what is embedded.

    Args:
        worker: where the server is embedded, start a worker too.
        say: told which servers are used.
    """
    settings = Settings.from_env()
    if settings.is_embedded:
        return _open_embedded(worker=worker, say=say)
    say(f"broker {redacted(settings.broker_url)}, state {redacted(settings.redis_url)}")
    return Opened(_facade())


def start_embedded(stack: ExitStack, say: Callable[[str], None]) -> object:
    """Start, or join, the embedded server and point the environment at it."""
    from coordinator.embedded import Embedded

    embedded = stack.enter_context(Embedded())
    os.environ["BROKER_URL"], os.environ["REDIS_URL"] = embedded.broker_url, embedded.redis_url
    say(f"embedded server {redacted(embedded.redis_url)}")
    return embedded


def offline_coordinator() -> Coordinator:
    """Return a façade for what needs no server: the kinds and their parameters."""
    return _facade()


def running_coordinator() -> Coordinator:
    """Return a façade on servers that run already; nothing is started.

    Raises:
        LookupError: when none runs.
    """
    raise LookupError("no server runs")


def _open_embedded(*, worker: bool, say: Callable[[str], None]) -> Opened:
    stack = ExitStack()
    try:
        embedded = start_embedded(stack, say)
        if worker:
            embedded.start_worker()  # type: ignore[attr-defined]
        return Opened(_facade(), stack)
    except BaseException:
        stack.close()
        raise


def _facade() -> Coordinator:
    from coordinator import Coordinator

    return Coordinator.from_settings()
