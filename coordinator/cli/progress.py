"""Views of a job's progress: a live line on a terminal, plain lines in a pipe, JSON lines for programs."""

from __future__ import annotations

import time
from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import IO

import click

from coordinator.cli.output import STYLES, clock, show_json
from coordinator.cli.session import Session
from coordinator.states import JobStatus


def view_for(session: Session, out: IO[str]) -> View:
    """Return the view that suits where the output goes."""
    if session.output != "plain" and out.isatty():
        return LiveLine(out)
    return PlainLines(out)


class View(AbstractContextManager["View"]):
    """Shows each change of a job's status, and once what hinders it."""

    def __init__(self) -> None:
        self._shown: object = None
        self._noted = ""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Nothing to end."""

    def update(self, status: JobStatus) -> None:
        """Show ``status`` if it differs from the last one."""
        change = self.change(status)
        if change != self._shown:
            self._shown, self._noted = change, ""
            self.draw(status)

    def note(self, text: str) -> None:
        """Tell what hinders the job, or the watch of it."""
        if text != self._noted:
            self._noted = text
            self.tell(text)

    def change(self, status: JobStatus) -> object:
        """Return what, when it differs, is worth showing."""
        return status.state, status.steps_done, status.steps_total

    @abstractmethod
    def draw(self, status: JobStatus) -> None:
        """Show ``status``."""

    def tell(self, text: str) -> None:
        """Show a note."""
        click.echo(text, err=True)


class PlainLines(View):
    """A line for every change of the state or of a whole percent."""

    def __init__(self, out: IO[str]) -> None:
        super().__init__()
        self._out = out

    def change(self, status: JobStatus) -> object:
        return status.state, status.steps_done * 100 // max(status.steps_total, 100)

    def draw(self, status: JobStatus) -> None:
        now = clock(int(time.time() * 1000))
        click.echo(f"{now} {status.id} {status.state} {_steps(status)}".rstrip(), file=self._out)


class JsonLines(View):
    """One JSON object a line for every change."""

    def draw(self, status: JobStatus) -> None:
        show_json(status, indent=None)


class LiveLine(View):
    """One line that is redrawn in place, and stays when the job has ended."""

    def __init__(self, out: IO[str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        super().__init__()
        console = Console(file=out, highlight=False)
        self._is_wide = console.width >= 80
        columns = [SpinnerColumn(finished_text=" "), TextColumn("{task.description} {task.fields[state]}")]
        columns += [BarColumn(None if self._is_wide else 10), TextColumn("{task.fields[steps]}")]
        self._progress = Progress(*columns, TimeElapsedColumn(), console=console, expand=self._is_wide)
        self._row = self._progress.add_task("", total=None, state="", steps="")

    def __enter__(self) -> LiveLine:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After Ctrl-C half a line would stay beside the terminal's ^C.
        self._progress.live.transient = kind is not None
        self._progress.stop()

    def draw(self, status: JobStatus) -> None:
        self._progress.update(
            self._row,
            description=status.id if self._is_wide else status.id[-12:],
            total=status.steps_total or None,
            completed=status.steps_done,
            state=f"[{STYLES[status.state]}]{status.state}[/]",
            steps=_steps(status),
        )
        # The time is the job's, not the watch's.
        row = self._progress.tasks[0]
        row.start_time = self._progress.get_time() - (time.time() - status.created_ms / 1000)
        if status.finished_ms:
            row.finished_time = (status.finished_ms - status.created_ms) / 1000

    def tell(self, text: str) -> None:
        self._progress.console.print(text)


def _steps(status: JobStatus) -> str:
    lost = f", {status.steps_lost} lost" if status.steps_lost else ""
    return f"{status.steps_done}/{status.steps_total} steps{lost}" if status.steps_total else ""
