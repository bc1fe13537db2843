"""``manage.py`` as a child process, the way people and scripts call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
JOBS = {"COORDINATOR_JOBS": "tests.acceptance.cli_jobs", "PYTHONPATH": str(ROOT)}
NUMBERS = ("-p", "numbers=[1, 2, 3]")
TIMEOUT_S = 120


@dataclass(frozen=True)
class Program:
    """The program in one folder, with the servers that ``env`` names."""

    folder: Path
    env: Mapping[str, str]

    @classmethod
    def at(cls, folder: Path, servers: Mapping[str, str]) -> Program:
        """Return the program with these servers only, and a home of its own."""
        outside = {
            name: value for name, value in os.environ.items() if name not in ("BROKER_URL", "REDIS_URL")
        }
        return cls(folder, {**outside, **JOBS, "COORDINATOR_HOME": str(folder / "home"), **servers})

    def __call__(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            self._command(words),
            env={**self.env, **env},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )

    def start(self, *words: str, out: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start a command that goes on."""
        return subprocess.Popen(
            self._command(words), env=self.env, cwd=self.folder, stdout=out, stderr=subprocess.PIPE, text=True
        )

    def json(self, *words: str) -> Any:
        """Return what a command prints with ``-o json``."""
        return json.loads(self(*words, "-o", "json").stdout)

    def submit(self, *words: str) -> str:
        """Submit a sum of three numbers and return its id."""
        return self("submit", "sum", *NUMBERS, *words).stdout.strip()

    def is_at_gate(self) -> bool:
        """Whether the last step of some sum waits at its gate."""
        steps = [step for job in self.json("list") for step in self.json("steps", job["id"])]
        return any(step["task"] == "cli.total" and step["state"] == "running" for step in steps)

    def _command(self, words: tuple[str, ...]) -> list[str]:
        return [sys.executable, str(ROOT / "manage.py"), *words]


def open_gate(path: Path) -> None:
    """Let the step that waits at the FIFO ``path`` go on, if there is one."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        pass  # nobody waits
