"""A private PostgreSQL for the rivals that keep their state in one: own port, folder and password.

PostgreSQL refuses to run as root, so there it runs as the system's ``postgres`` user.
Its settings are the package's own, ``fsync`` among them: what it says is stored, is.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import MissingServer, Process, free_port, wait_ready

USER = "postgres"
FOLDERS = ("/usr/lib/postgresql/17/bin", "/usr/lib/postgresql/16/bin", "/usr/lib/postgresql/15/bin")


class Postgres:
    """One server, in a folder that its user may read."""

    def __init__(self, home: Path) -> None:
        self.home, self.port, self.password = home, free_port(), secrets.token_hex(16)
        self._as_user = (
            [] if os.getuid() else ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        )
        options = ["-k", str(home), "-h", "127.0.0.1", "-p", str(self.port), "-c", "max_connections=200"]
        self.process = Process(
            [*self._as_user, _find("postgres"), "-D", str(home / "data"), *options], log=home / "postgres.log"
        )

    def url(self, database: str = "postgres", scheme: str = "postgresql") -> str:
        return f"{scheme}://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        password = self.home / "password"
        password.write_text(self.password)
        if self._as_user:
            for path in (self.home, password):
                shutil.chown(path, USER, USER)
        command = [_find("initdb"), "-D", str(self.home / "data"), "-U", USER, "-A", "scram-sha-256"]
        subprocess.run(
            [*self._as_user, *command, "--pwfile", str(password)], check=True, capture_output=True, cwd="/"
        )
        self.process.launch()
        wait_ready(self.process, self._answers, what="PostgreSQL", timeout_s=30)

    def create(self, database: str) -> None:
        subprocess.run(
            [_find("psql"), self.url(), "-qc", f'CREATE DATABASE "{database}"'],
            check=True,
            capture_output=True,
        )

    def _answers(self) -> bool:
        done = subprocess.run([_find("psql"), self.url(), "-qc", "SELECT 1"], capture_output=True)
        return done.returncode == 0


@contextmanager
def private_postgres() -> Iterator[Postgres]:
    """Start a server, end it with the block."""
    with tempfile.TemporaryDirectory(prefix="batuta-bench-pg-") as folder:
        server = Postgres(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.process.stop()


def _find(program: str) -> str:
    found = shutil.which(program, path=os.pathsep.join([*FOLDERS, os.environ.get("PATH", "")]))
    if found is None:
        raise MissingServer(
            f"{program} was not found: apt-get install postgresql, or brew install postgresql"
        )
    return found
