"""Run a command for as long as it is wanted, then end it.

A script of its own, with the standard library only: ``python guard.py MODE … COMMAND …``.

* ``locks START USERS COMMAND…``: wanted while any process holds ``USERS`` shared.
* ``stdin COMMAND…``: wanted until standard input closes; a number written to it first is the grace.

The kernel keeps both, so a user that is killed is noticed as surely as one that says goodbye.
The command ends by SIGTERM, and its process group by SIGKILL after the grace (seconds).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

PAUSE_S = 0.2
GRACE_S = 8.0
PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Run the command; return its exit code."""
    mode, *rest = arguments
    if mode == "locks":
        start, users, *command = rest
        return guard(command, lambda: wait_free(start, users))
    return guard(rest, wait_closed)


def guard(command: list[str], wait_over: Callable[[], float | None]) -> int:
    """Run ``command`` until it ends, or until ``wait_over()`` returns the grace it gets."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=end_with_parent
    ) as child:
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while child.poll() is None:
            grace_s = wait_over()
            if grace_s is not None:
                end(child, grace_s)
        kill_group(child.pid)
        return child.wait()


def ask_to_stop(guard: subprocess.Popen[bytes] | None, grace_s: float) -> None:
    """Ask a guard in the mode ``stdin`` to end its command; return at once. Idempotent."""
    if guard is None or guard.stdin is None or guard.stdin.closed:
        return
    try:
        guard.stdin.write(f"{grace_s}".encode())
        guard.stdin.close()
    except BrokenPipeError:
        pass  # it has ended by itself


def end(child: subprocess.Popen[bytes], grace_s: float) -> None:
    """Ask, wait, insist."""
    child.terminate()
    try:
        child.wait(grace_s)
    except subprocess.TimeoutExpired:
        kill_group(child.pid)
        child.wait()


def wait_closed() -> float | None:
    """Wait a little for standard input to close; return the grace once it has."""
    readable, _, _ = select.select([0], [], [], PAUSE_S)
    if not readable:
        return None
    text = b""
    while part := os.read(0, 512):
        text += part
    return float(text or GRACE_S)


def wait_free(start: str, users: str) -> float | None:
    """Wait a little; return the grace if nobody uses the server then."""
    select.select([], [], [], PAUSE_S)
    return GRACE_S if are_free(start, users) else None


def are_free(start: str, users: str) -> bool:
    """Whether nobody uses the server; both locks are then kept until this process ends."""
    held = try_lock(start)
    if held is None:
        return False  # somebody is joining or leaving
    if try_lock(users) is not None:
        return True
    os.close(held)
    return False


def try_lock(path: str) -> int | None:
    """Take an exclusive lock; return its descriptor, or None."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        # The home was deleted: nobody can join any more, and the server has nothing to write to.
        return os.open(os.devnull, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def kill_group(group: int) -> None:
    """SIGKILL whatever is left of the command's process group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass  # nothing is left


def end_with_parent() -> None:
    """Ask the kernel to end the command when the guard itself is killed (Linux)."""
    if sys.platform == "linux":
        libc: Any = ctypes.CDLL(None)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
