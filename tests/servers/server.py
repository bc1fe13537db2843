"""What a RabbitMQ and a Redis have in common: one process, and data that can be kept or lost."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from pathlib import Path

from tests.servers.process import Process, wait_ready


class Server(ABC):
    """One node; its ports and password stay the same over restarts."""

    start_timeout_s: float
    home: Path
    data: Path
    process: Process

    @abstractmethod
    def launch(self) -> None: ...

    def wait_ready(self) -> None:
        wait_ready(self.process, self._answers, what=type(self).__name__, timeout_s=self.start_timeout_s)

    def start(self) -> None:
        self.launch()
        self.wait_ready()

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def restart(self, *, kill: bool = True, empty: bool = False) -> None:
        """Stop (by SIGKILL unless ``kill`` is false) and start again, without its data if ``empty``."""
        self.process.kill() if kill else self.process.stop()
        if empty:
            shutil.rmtree(self.data, ignore_errors=True)
        self.start()

    @abstractmethod
    def _answers(self) -> bool: ...
