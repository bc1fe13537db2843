"""pytest-celery's nodes on plain processes.

A node asks its container for a handful of things and never looks at its type, so
these two stand in for containers: one around a server of the session, one around
a worker of the test. As with containers, killing the main process ends all of it.
"""

from __future__ import annotations

import signal
from typing import Any

import celery
import psutil
from pytest_celery import CeleryTestWorker

from tests.servers import RabbitMQ, Redis, Worker


class ServerContainer:
    """A session's server, dressed as the container of a broker or backend node."""

    def __init__(self, server: RabbitMQ | Redis, url: str) -> None:
        self.server = server
        self.celeryconfig = {"url": url, "host_url": url}
        self.name = type(server).__name__.lower()
        self.id = f"{self.name}-{server.port}"

    @property
    def status(self) -> str:
        return "running" if self.server.process.is_alive() else "exited"

    def ready(self) -> bool:
        self.server.wait_ready()
        return True

    def logs(self) -> str:
        return self.server.process.log.read_text(errors="replace")

    def kill(self, signal: str | int = "SIGKILL") -> None:  # the name is docker's
        _send(self.server, signal)

    def restart(self, timeout: float = 60) -> None:
        if self.server.process.is_alive():
            self.server.restart(kill=False)
        else:
            self.server.start()

    def reload(self) -> None:
        """Do nothing: what is known of a process is never stale."""

    def teardown(self) -> None:
        """Leave the server as the next test wants it: running."""
        if not self.server.process.is_alive():
            self.server.start()


class WorkerContainer:
    """A worker process, dressed as the container of a worker node."""

    id = "localhost"  # what stands behind the @ of the worker's name

    def __init__(self, worker: Worker, queue: str) -> None:
        self.worker = worker
        self.name = worker.name
        self.celeryconfig: dict[str, str] = {}
        self._queue = queue

    @property
    def status(self) -> str:
        return "running" if self.worker.process.is_alive() else "exited"

    def ready(self) -> bool:
        self.worker.wait_ready()
        return True

    def logs(self) -> str:
        return self.worker.log.read_text(errors="replace")

    def kill(self, signal: str | int = "SIGKILL") -> None:
        _send(self.worker, signal)

    def restart(self, timeout: float = 60) -> None:
        self.worker.stop(timeout)
        self.worker.start()

    def reload(self) -> None:
        """Do nothing: what is known of a process is never stale."""

    def teardown(self) -> None:
        self.worker.kill()

    def version(self) -> str:
        return celery.__version__

    def log_level(self) -> str:
        return "INFO"

    def worker_name(self) -> str:
        return self.worker.name

    def worker_queue(self) -> str:
        return self._queue


class ProcessWorker(CeleryTestWorker):
    """A worker node that asks the system, not a container's shell, for its processes."""

    def get_running_processes_info(
        self, columns: list[str] | None = None, filters: dict[str, str] | None = None
    ) -> list[dict[str, Any]]:
        main = psutil.Process(self.container.worker.pid)
        found = [process.as_dict(attrs=columns) for process in (main, *main.children(recursive=True))]
        wanted = (filters or {}).items()
        return [info for info in found if all(info.get(name) == value for name, value in wanted)]


def _send(part: RabbitMQ | Redis | Worker, number: str | int) -> None:
    number = signal.Signals[number] if isinstance(number, str) else signal.Signals(number)
    if number == signal.SIGKILL:
        part.kill()  # with its group, as the end of a container's first process does
    else:
        part.process.signal(number)
