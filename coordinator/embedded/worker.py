"""A worker as a child of the program that needs it, ended with that program.

Owns the process and its log. It runs under ``guard.py``, which watches a pipe that
only this process holds open: a parent that is killed takes its worker along.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from coordinator.embedded import guard
from coordinator.embedded.home import Home
from coordinator.errors import BrokerUnreachable

GUARD = Path(__file__).with_name("guard.py")
ROOT = Path(__file__).resolve().parents[2]  # where the package is imported from
LOG_LIMIT_BYTES = 5_000_000
PAUSE_S = 0.02
READY_VARIABLE = "COORDINATOR_READY_FILE"


class WorkerProcess:
    """``celery -A coordinator.app worker`` with its output in a file of the home."""

    def __init__(self, home: Home, env: dict[str, str], *, app: str, concurrency: int | None) -> None:
        self._home = home
        self._name = f"worker-{os.getpid()}-{id(self):x}"
        self._ready = home.path(f"{self._name}.ready")
        self._env = env
        self._app = app
        self._concurrency = concurrency or core_count()
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self._home.path("worker.log")

    def start(self) -> None:
        """Start it and return at once."""
        path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH", "")) if part)
        env = {**os.environ, "PYTHONPATH": path, **self._env, READY_VARIABLE: str(self._ready)}
        watched_by = [sys.executable, "-I", "-S", str(GUARD), "stdin"]
        with self._home.explained(), self._open_log() as log:
            # A session of its own: Ctrl-C in the terminal must not cut a step short.
            self._guard = subprocess.Popen(
                [*watched_by, *self._command()],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._guard is not None and self._guard.poll() is None

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until it consumes.

        Raises:
            BrokerUnreachable: it ended, or took longer; the message has the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        while not self._ready.exists():
            if not self.is_alive():
                raise BrokerUnreachable(f"the worker ended while starting; {self._end_of_log()}")
            if time.monotonic() > deadline:
                raise BrokerUnreachable(
                    f"the worker was not ready within {timeout_s:g} s; {self._end_of_log()}"
                )
            time.sleep(PAUSE_S)

    def ask_to_stop(self, grace_s: float) -> None:
        """Ask for a warm shutdown, and a kill after ``grace_s``; return at once. Idempotent."""
        guard.ask_to_stop(self._guard, grace_s)

    def wait_stopped(self) -> None:
        """Wait until it is gone, with all that it started; idempotent."""
        if self._guard is not None:
            self._guard.wait()
            self._ready.unlink(missing_ok=True)

    def _open_log(self) -> IO[bytes]:
        is_full = self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES
        return self.log.open("wb" if is_full else "ab")

    def _command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "coordinator.embedded.ready",
            *("-A", self._app, "worker", "-P", "prefork", "-c", str(self._concurrency)),
            *("-n", f"{self._name}@localhost", "--loglevel", "INFO"),
            # It has no neighbours to ask at start: that would only cost a second.
            *("--without-mingle", "--without-gossip"),
        ]

    def _end_of_log(self) -> str:
        return f"the end of {self.log}:\n{self._home.tail(self.log.name)}"


def core_count() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1
