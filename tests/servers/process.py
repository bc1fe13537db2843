"""A child process with a log, in its own process group, that does not outlive the test session."""

from __future__ import annotations

import ctypes
import fcntl
import functools
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class MissingServer(Exception):
    """A server's program is not installed; the message says how to get it."""


class ServerFailed(Exception):
    """A server ended, or did not come up in time; the message has the end of its log."""


class Process:
    """A child process that is ended by its own process group, never by name."""

    def __init__(self, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> None:
        self.command = list(command)
        self.log = log
        self.env = dict(os.environ if env is None else env)
        self.popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.popen is not None, "not started"
        return self.popen.pid

    def is_alive(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def launch(self) -> None:
        """Start without waiting; its output is added to the log."""
        assert not self.is_alive(), f"{self.command[0]} runs already"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.env,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def signal(self, number: int) -> None:
        """Send a signal to the process alone."""
        if self.is_alive():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL the process and its group, as a crash or the OOM killer would."""
        if self.popen is None:
            return
        _kill_group(self.popen.pid)
        self.popen.wait()

    def stop(self, timeout_s: float = 15) -> int:
        """Ask it to end, insist after ``timeout_s``; return its exit code."""
        if self.popen is None:
            return 0
        self.signal(signal.SIGTERM)
        try:
            self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        # What the process left behind in its group (port programs, orphaned children).
        _kill_group(self.popen.pid)
        return self.popen.returncode

    def tail(self, lines: int = 40) -> str:
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def check_alive(self, what: str) -> None:
        """Raise ServerFailed when the process ended."""
        if not self.is_alive():
            code = self.popen.returncode if self.popen else None
            raise ServerFailed(f"{what} ended with exit code {code}; the end of {self.log}:\n{self.tail()}")


def python_env(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a Python child that imports this repository and logs at once."""
    path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH", "")) if part)
    return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": path, **env}


def free_port() -> int:
    """Return a port that nobody listens on, below the range that clients' own ports come from.

    A client that retries a port of that range while its server is down can connect to
    itself, and so keep the server from coming back. Another session of tests on this machine is not
    given the port either, while its server has not bound it yet.
    """
    for _ in range(200):
        port = 15_000 + secrets.randbelow(17_000)  # not of ``random``, which tests seed
        with socket.socket() as probe:
            try:
                fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerFailed("found no free port between 15000 and 32000")


@functools.cache
def _claims() -> IO[bytes]:
    """Return a file of which a byte is locked for each port that was given, until this process ends."""
    return (Path(tempfile.gettempdir()) / f"batuta-tests-ports-{os.getuid()}").open("ab")


def answers(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_ready(process: Process, is_ready: Callable[[], object], *, what: str, timeout_s: float) -> None:
    """Wait until ``is_ready()`` holds; raise ServerFailed when the process ends or time runs out."""

    def check() -> bool:
        process.check_alive(what)
        return bool(is_ready())

    try:
        wait_until(check, timeout_s=timeout_s, what=f"{what} to answer")
    except AssertionError as error:
        raise ServerFailed(f"{error}; the end of {process.log}:\n{process.tail()}") from error


def end_with_parent() -> None:
    # A test session that is killed outright runs no clean-up: the kernel asks its children to end.
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # it is gone (macOS says PermissionError for a group of zombies)
