"""pytest-celery's nodes on plain processes.

A node asks its container for a handful of things and never looks at its type, so
these two stand in for containers: one around a server of the session, one around
a worker of the test. As with containers, killing the main process ends all of it.
"""

from __future__ import annotations

import signal as signals
from typing import Any

import celery
import psutil
from pytest_celery import CeleryTestWorker

from tests.servers import RabbitMQ, Redis, Worker


class Container:
    """One part of a test, dressed as the container of a node."""

    def __init__(self, part: RabbitMQ | Redis | Worker, name: str, config: dict[str, str]) -> None:
        self.part = part
        self.name = name
        self.celeryconfig = config

    @property
    def status(self) -> str:
        return "running" if self.part.process.is_alive() else "exited"

    def ready(self) -> bool:
        self.part.wait_ready()
        return True

    def logs(self) -> str:
        return self.part.process.log.read_text(errors="replace")

    def kill(self, signal: str | int = "SIGKILL") -> None:  # the name is docker's
        number = signals.Signals[signal] if isinstance(signal, str) else signals.Signals(signal)
        if number == signals.SIGKILL:
            self.part.kill()  # with its group, as the end of a container's first process does
        else:
            self.part.process.signal(number)

    def reload(self) -> None:
        """Do nothing: what is known of a process is never stale."""


class ServerContainer(Container):
    """A session's server, dressed as the container of a broker or backend node."""

    def __init__(self, server: RabbitMQ | Redis, url: str) -> None:
        super().__init__(server, type(server).__name__.lower(), {"url": url, "host_url": url})
        self.id = f"{self.name}-{server.port}"

    def restart(self, timeout: float = 60) -> None:
        self.part.restart(kill=False)

    def teardown(self) -> None:
        """Leave the server as the next test wants it: running."""
        if not self.part.process.is_alive():
            self.part.start()


class WorkerContainer(Container):
    """A worker process, dressed as the container of a worker node."""

    id = "localhost"  # what stands behind the @ of the worker's name

    def __init__(self, worker: Worker, queue: str) -> None:
        super().__init__(worker, worker.name, {})
        self._queue = queue

    def restart(self, timeout: float = 60) -> None:
        self.part.stop(timeout)
        self.part.start()

    def teardown(self) -> None:
        self.part.kill()

    def version(self) -> str:
        return celery.__version__

    def log_level(self) -> str:
        return "INFO"

    def worker_name(self) -> str:
        return self.name

    def worker_queue(self) -> str:
        return self._queue


class ProcessWorker(CeleryTestWorker):
    """A worker node that asks the system, not a container's shell, for its processes."""

    def get_running_processes_info(
        self, columns: list[str] | None = None, filters: dict[str, str] | None = None
    ) -> list[dict[str, Any]]:
        main = psutil.Process(self.container.part.pid)
        found = [process.as_dict(attrs=columns) for process in (main, *main.children(recursive=True))]
        wanted = (filters or {}).items()
        return [info for info in found if all(info.get(name) == value for name, value in wanted)]
