"""One call of the program: its output format, its façade, and what it must stop at the end.

The façade is opened on first use, so a command that needs no server starts none.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.errors import JobRejected
from coordinator.states import Receipt, State

if TYPE_CHECKING:
    from coordinator.cli.connection import Opened
    from coordinator.coordinator import Coordinator


@dataclass
class Session:
    """What the commands share; click's ``ctx.obj``."""

    args: tuple[str, ...] = ()
    output: str = ""  # table, plain or json; empty means table on a terminal, plain in a pipe
    verbose: bool = False
    debug: bool = False
    kind: str = ""  # the kind that is being worked on, for messages
    job: str = ""  # the job that is being worked on, for messages
    opened: Opened | None = None

    @property
    def is_json(self) -> bool:
        """Whether JSON was asked for; also true when the command line could not be parsed."""
        return (self.output or _asked_output(self.args)) == "json"

    def coordinator(self, *, worker: bool = False) -> Coordinator:
        """Return the façade, connected to what is configured or to the embedded server.

        Args:
            worker: without a configured broker, also start a private worker.
        """
        from coordinator.cli import connection

        if self.opened is None:
            if not self.verbose:
                # What the log says of a request is what the command itself says.
                logging.getLogger("coordinator").addHandler(logging.NullHandler())
            self.opened = connection.open_coordinator(worker=worker, say=self.say)
            click.get_current_context().call_on_close(self.opened.close)
        return self.opened.coordinator

    def find(self, prefix: str, *, worker: bool = False) -> str:
        """Return the full id of the job that ``prefix`` begins.

        Raises:
            BadParameter: it is empty, as a variable that nobody has set: any job's id begins so.
        """
        if not prefix:
            raise click.BadParameter(
                "expected a job's id or its start, got an empty text", param_hint="'JOB'"
            )
        self.job = prefix
        self.job = self.coordinator(worker=worker).resolve(prefix)
        return self.job

    def submitted(self, receipt: Receipt) -> Receipt:
        """Return the receipt of an accepted request.

        Raises:
            JobRejected: it was refused, now or when its key was used before.
        """
        self.job = receipt.id
        if receipt.status == "rejected":
            raise JobRejected(f"job {receipt.id} is rejected", errors=list(receipt.errors))
        if receipt.status == "duplicate" and self.coordinator().status(receipt.id).state is State.REJECTED:
            self.coordinator().result(receipt.id)  # Raises: the same request gets the same answer.
        return receipt

    @property
    def embedded_home(self) -> str:
        """The folder of the embedded server, or an empty string where servers are configured."""
        return self.opened.place if self.opened and self.opened.is_embedded else ""

    def say(self, message: str) -> None:
        """Tell the user on stderr, with ``-v`` only."""
        if self.verbose:
            click.echo(message, err=True)


def program_name() -> str:
    """Return how to call this program again, such that it can be pasted into the same shell."""
    script = sys.argv[0]
    if Path(script).name == "__main__.py":
        return f"{_python()} -m coordinator.cli"
    if script.endswith(".py"):
        return f"{_python()} {script}"
    return Path(script).name


def as_called(text: str) -> str:
    """Return advice with the program named as it was called: ``manage.py`` is not what everyone has."""
    return text.replace("`manage.py ", f"`{program_name()} ")


def _python() -> str:
    found = shutil.which("python")
    if found and Path(found).parent == Path(sys.executable).parent:
        return "python"
    near = os.path.relpath(sys.executable)
    return sys.executable if near.startswith("..") else near


def _asked_output(args: tuple[str, ...]) -> str:
    for word, following in zip(args, (*args[1:], ""), strict=True):
        if word == "--":
            break
        if word in ("-o", "--output"):
            return following
        for start in ("--output=", "-o"):
            if word.startswith(start):
                return word.removeprefix(start)
    return ""
