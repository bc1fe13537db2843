"""Programs that run beside each other in one terminal, each line with its program's name before it.

Owns their start, their output and their end. Invariant: none outlives this process,
however it ends: each runs under ``embedded/guard.py``, which notices when its
standard input closes and ends the program's whole process group.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from coordinator.embedded import guard

GUARD = Path(guard.__file__)
NAME_WIDTH = 7


class Child:
    """One program: started, watched, ended, started again."""

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str], *, colour: str) -> None:
        self.name = name
        self._argv = list(argv)
        self._env = dict(env)
        self._colour = colour
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._is_wanted = False

    def start(self) -> None:
        """Start it and show what it says."""
        # A session of its own: Ctrl-C in the terminal is ours to pass on, in order.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARD), "stdin", *self._argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._env,
            start_new_session=True,
        )
        self._is_wanted = True
        self._reader = threading.Thread(target=self._show, args=(self._process,), daemon=True)
        self._reader.start()

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def ask_to_stop(self, grace_s: float) -> None:
        """Ask it to end, with a kill after ``grace_s``; return at once. Idempotent."""
        self._is_wanted = False
        guard.ask_to_stop(self._process, grace_s)

    def wait_stopped(self) -> None:
        """Wait until it is gone, with all that it started, and has said its last."""
        if self._process is not None:
            self._process.wait()
        if self._reader is not None:
            self._reader.join()

    def restart(self, grace_s: float) -> None:
        """End it and start it anew."""
        self.ask_to_stop(grace_s)
        self.wait_stopped()
        self.start()

    def say(self, text: str) -> None:
        """Print a line under its name."""
        say(self.name, text, self._colour)

    def _show(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.say(line.decode(errors="replace").rstrip())
        code = process.wait()
        if self._is_wanted:
            self.say(f"ended with code {code}; it is started again when a file changes")


def say(name: str, text: str, colour: str = "white") -> None:
    """Print a line under a name."""
    click.echo(click.style(f"{name:<{NAME_WIDTH}}|", fg=colour) + f" {text}")
