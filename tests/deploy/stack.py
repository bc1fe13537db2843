"""``docker-compose.yml`` brought up as a project of its own, and what a test does to its containers.

Invariant: whatever was brought up is taken down again, volumes and all. Works with Compose v2
(``docker compose``) and with docker-compose 1.29; the variable COMPOSE names another.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
MAIN, TLS, WORKER_HOST = (
    ROOT / name for name in ("docker-compose.yml", "deploy/tls.compose.yml", "deploy/worker-host.compose.yml")
)
TIMEOUT_S = 300
HEALTHY_S = 180


class CommandFailed(Exception):
    """docker or compose ended with an error; the message has what it said."""


def docker(*words: str, timeout_s: float = TIMEOUT_S) -> str:
    """Run a docker command and return what it printed."""
    return run(["docker", *words], {}, timeout_s)


def compose_command() -> list[str] | None:
    """Return the words that call Compose, or None where there is none."""
    if words := os.environ.get("COMPOSE"):
        return words.split()
    if shutil.which("docker") and _succeeds(["docker", "compose", "version"]):
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


@dataclass(frozen=True)
class Stack:
    """One project: its files, and the environment that its variables are taken from."""

    project: str
    files: Sequence[Path]
    env: Mapping[str, str] = field(repr=False)

    def compose(self, *words: str, timeout_s: float = TIMEOUT_S) -> str:
        """Run a Compose command on this project."""
        command = compose_command()
        assert command is not None, "looked for by the fixture"
        files = [word for path in self.files for word in ("--file", str(path))]
        return run([*command, "--project-name", self.project, *files, *words], self.env, timeout_s)

    def up(self, **scale: int) -> None:
        """Bring it up with so many containers of each service, and wait until all of them are healthy."""
        scales = [word for service, count in scale.items() for word in ("--scale", f"{service}={count}")]
        self.compose("up", "--detach", "--no-build", *scales)
        for service in self.compose("config", "--services").split():
            for container in self.containers(service):
                wait_healthy(container)

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's containers."""
        return self.compose("ps", "--quiet", service).split()

    def down(self) -> None:
        self.compose("down", "--volumes", "--timeout", "20")

    def logs(self) -> str:
        return self.compose("logs", "--no-color", "--tail", "60")


def crash(container: str) -> None:
    """Kill all processes in a container by SIGKILL, so that the engine sees it die by itself."""
    # Not `docker kill`, after which no restart policy holds.
    subprocess.run(["docker", "exec", container, "sh", "-c", "kill -9 -1"], check=False, timeout=60)


def health(container: str) -> str:
    """Return ``healthy``, ``unhealthy`` or ``starting``, and the state where it does not run."""
    state = json.loads(docker("inspect", "--format", "{{json .State}}", container))
    return str(state["Health"]["Status"] if state["Running"] else state["Status"])


def wait_healthy(container: str) -> None:
    wait_until(
        lambda: health(container) == "healthy",
        timeout_s=HEALTHY_S,
        what=f"container {container[:12]} to be healthy",
        pause_s=1,
    )


def inspect(container: str) -> Any:
    """Return all that the engine knows of a container."""
    return json.loads(docker("inspect", container))[0]


def run(command: Sequence[str], env: Mapping[str, str], timeout_s: float) -> str:
    done = subprocess.run(
        command, env={**os.environ, **env}, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s
    )
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
