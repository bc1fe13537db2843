"""A real Celery worker, as a child process."""

from __future__ import annotations

import os
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from tests.servers.process import ROOT, Process, python_env, wait_ready

START_TIMEOUT_S = 40


class Worker:
    """``celery -A APP worker`` with its output in a log file."""

    def __init__(
        self,
        env: Mapping[str, str],
        *,
        home: Path,
        app: str = "coordinator.app",
        concurrency: int = 2,
        pool: str = "prefork",
        queues: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        self.name = f"worker-{secrets.token_hex(4)}"
        self.nodename = f"{self.name}@localhost"
        # Mingle waits a second for its neighbours at start; no test needs neighbours by default.
        command = [sys.executable, "-m", "celery", "-A", app, "worker", "-P", pool, "-c", str(concurrency)]
        command += ["-n", self.nodename, "--loglevel", "INFO", "--without-mingle", "--without-gossip"]
        command += ["-Q", ",".join(queues)] if queues else []
        self.process = Process([*command, *options], log=home / f"{self.name}.log", env=python_env(env))

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> Path:
        return self.process.log

    def launch(self) -> None:
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self.process.launch()

    def wait_ready(self) -> None:
        """Wait until it consumes; Celery logs "ready." after its consumer has started."""
        wait_ready(self.process, self._is_ready, what=f"worker {self.name}", timeout_s=START_TIMEOUT_S)

    def start(self) -> Worker:
        self.launch()
        self.wait_ready()
        return self

    def stop(self, timeout_s: float = 15) -> int:
        """Warm shutdown: SIGTERM, running steps finish."""
        return self.process.stop(timeout_s)

    def kill(self) -> None:
        """SIGKILL the worker with all its children, as a power cut would."""
        self.process.kill()

    def children(self) -> list[int]:
        """Process ids of the pool's children."""
        return [child.pid for child in psutil.Process(self.pid).children()]

    def kill_child(self, pid: int | None = None) -> int:
        """SIGKILL one child of the pool, the first one by default; return its id."""
        victim = self.children()[0] if pid is None else pid
        os.kill(victim, signal.SIGKILL)
        return victim

    def _is_ready(self) -> bool:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return f"{self.nodename} ready.".encode() in log.read()


class Fleet:
    """``manage.py worker --pool fleet``: single-slot workers, started as a user starts them."""

    def __init__(self, env: Mapping[str, str], *, home: Path, size: int = 2) -> None:
        self.size = size
        command = [sys.executable, str(ROOT / "manage.py"), "worker", "--pool", "fleet", "-c", str(size)]
        log = home / f"fleet-{secrets.token_hex(4)}.log"
        self.process = Process(command, log=log, env=python_env(env))

    @property
    def pid(self) -> int:
        return self.process.pid

    def launch(self) -> None:
        self.process.launch()

    def wait_ready(self) -> None:
        wait_ready(self.process, self._is_ready, what="the fleet", timeout_s=START_TIMEOUT_S)

    def stop(self) -> int:
        return self.process.stop()

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children()

    def _is_ready(self) -> bool:
        return self.process.log.read_text(errors="replace").count(" ready.") == self.size
