"""A real Celery worker, as a child process."""

from __future__ import annotations

import os
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from tests.servers.process import Process, wait_ready

ROOT = Path(__file__).resolve().parents[2]
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
        path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH", "")) if part)
        self.process = Process(
            [*command, *options],
            log=home / f"{self.name}.log",
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": path, **env},
        )

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

    def kill_parent(self) -> None:
        """SIGKILL the main process alone."""
        self.process.signal(signal.SIGKILL)
        assert self.process.popen is not None
        self.process.popen.wait()

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
