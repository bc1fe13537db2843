"""A private server and worker, for when none is configured.

``Embedded`` joins the server of its home folder (``COORDINATOR_HOME``, by default
``.batuta``) or starts it, and may start one worker. Invariant: no process outlives
its last user, however that user ended. Users hold a kernel lock that death
releases; a guard process (``guard.py``) watches it. See
``docs/decisions/0001-embedded-server.md``. Light to import.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from coordinator.embedded.home import Home
from coordinator.embedded.server import Server
from coordinator.embedded.worker import WorkerProcess

__all__ = ["Embedded"]

BROKER_DB, STATE_DB = 0, 1


class Embedded:
    """One user of the embedded server: ``with Embedded() as embedded: …``."""

    def __init__(self, home: str | Path | None = None) -> None:
        """Name the home folder; nothing is started or written yet.

        Args:
            home: the private folder; ``COORDINATOR_HOME``, else ``.batuta`` in the working directory.
        """
        self.home = Home.at(home)
        self._server = Server(self.home)
        self._workers: list[WorkerProcess] = []

    @property
    def broker_url(self) -> str:
        """Where messages go: a redis:// URL."""
        return self._server.url(BROKER_DB)

    @property
    def redis_url(self) -> str:
        """Where state is kept: the same server, another database."""
        return self._server.url(STATE_DB)

    def environment(self) -> dict[str, str]:
        """Return the variables that make a child process use this server."""
        return {
            "BROKER_URL": self.broker_url,
            "REDIS_URL": self.redis_url,
            "COORDINATOR_HOME": str(self.home.folder),
        }

    def start(self) -> None:
        """Join the server, or start it; a second call does nothing.

        Raises:
            SettingsError: the folder can't be used, or this platform has no server.
            StateUnreachable: the server did not come up; the message has the end of its log.
        """
        self._server.join()

    def start_worker(self, concurrency: int | None = None, *, app: str = "coordinator.app") -> WorkerProcess:
        """Start a worker on this server and return at once; ``wait_ready`` waits for it.

        Args:
            concurrency: its processes; one per core that this process may use by default.
            app: the module of the Celery application.
        """
        worker = WorkerProcess(self.home, self.environment(), app=app, concurrency=concurrency)
        worker.start()
        self._workers.append(worker)
        return worker

    def wait_ready(self, timeout_s: float = 60) -> None:
        """Wait until every worker that was started here consumes.

        Raises:
            BrokerUnreachable: one ended or took longer; the message has the end of its log.
        """
        for worker in self._workers:
            worker.wait_ready(timeout_s)

    def stop(self, grace_s: float = 10) -> None:
        """End the workers started here, and the server when nobody else uses it; idempotent.

        Args:
            grace_s: seconds that a running step gets before its worker is killed. The
                step is not lost: it runs again when the next worker of this home starts.
        """
        for worker in self._workers:
            worker.ask_to_stop(grace_s)
        for worker in self._workers:
            worker.wait_stopped()
        self._workers.clear()
        self._server.leave()

    def __enter__(self) -> Embedded:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
