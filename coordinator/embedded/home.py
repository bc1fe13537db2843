"""The embedded parts' private folder, its files and its two locks.

``users.lock`` is held shared by each process that uses the server; ``start.lock``
is held by whoever is deciding to start or end it. Both are kernel locks
(``flock``): the death of a process, of whatever kind, releases them.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.errors import SettingsError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

VARIABLE = "COORDINATOR_HOME"
DEFAULT = ".batuta"
LOCK_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Home:
    """A folder that only its owner can read."""

    folder: Path

    @classmethod
    def at(cls, folder: str | Path | None = None) -> Home:
        """Return the home of ``folder``, or of the environment."""
        return cls(Path(folder or os.environ.get(VARIABLE, "").strip() or DEFAULT).expanduser().absolute())

    def path(self, name: str) -> Path:
        """Return the path of one of its files."""
        return self.folder / name

    def make(self) -> None:
        """Make the folder, with mode 0700 and hidden from git.

        Raises:
            SettingsError: it can't be made or written to, or is a folder of other things.
        """
        if fcntl is None:
            raise SettingsError(
                "the embedded server runs on Linux and macOS only; set BROKER_URL and REDIS_URL"
            )
        with self.explained():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._refuse_another()
            self.folder.chmod(0o700)
            self.path("data").mkdir(mode=0o700, exist_ok=True)
            if not self.path(".gitignore").exists():
                self.write(".gitignore", "*\n")

    def _refuse_another(self) -> None:
        """Lock nobody out of a folder of theirs, and hide none from git: /tmp, a project's own."""
        others = {path.name for path in self.folder.iterdir()} - {"lost+found"}
        if others and not self.path("data").is_dir():
            raise SettingsError(
                f"expected a folder of its own for the embedded server, got {self.folder}, which holds "
                f"other things, {min(others)} among them. Set {VARIABLE} to one that need not exist"
            )

    def write(self, name: str, text: str) -> None:
        """Replace a file atomically; only its owner may read it."""
        with self.explained():
            new = self.path(f"{name}.{os.getpid()}.new")
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
            new.replace(self.path(name))

    def read_json(self, name: str) -> dict[str, Any]:
        """Return a file's object; an empty one when it is missing or damaged."""
        try:
            value = json.loads(self.path(name).read_text())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def tail(self, name: str, lines: int = 15) -> str:
        """Return the end of a log."""
        try:
            text = self.path(name).read_text(errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what a file system says into what to do about it."""
        try:
            yield
        except OSError as error:
            raise SettingsError(
                f"{_reason(error)} {self.folder}: {error.strerror}. {_advice(error)}"
            ) from error


class Lock:
    """A kernel lock on one file, released by ``release`` or by this process's end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process holds it."""
        return self._descriptor is not None

    def acquire(self, *, shared: bool = False, timeout_s: float = 20) -> None:
        """Wait for the lock.

        Raises:
            TimeoutError: another process kept it longer.
        """
        deadline = time.monotonic() + timeout_s
        while not self.try_acquire(shared=shared):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._path} is held by another process")
            time.sleep(LOCK_PAUSE_S)

    def try_acquire(self, *, shared: bool = False) -> bool:
        """Take the lock now, or turn a held one into the other sort; a held one is lost on failure."""
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            return False
        return True

    def release(self) -> None:
        """Give it up; idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space is left for"
    return "expected a folder to write to, got"


def _advice(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"Free some, or set {VARIABLE} to a folder on another disk."
    return f"Set {VARIABLE} to a folder that you can write to."
