"""``watch``: follow a job with one live line on a terminal, or a line a change in a pipe.

Ctrl-C detaches and never cancels.
"""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import IO, TYPE_CHECKING, Any, Protocol

import click

from coordinator.cli.exits import DETACHED
from coordinator.cli.options import common, job_argument, timeout_option
from coordinator.cli.output import STYLES, clock, show_json, span
from coordinator.cli.session import Session, program_name
from coordinator.errors import Unreachable, WaitTimeout
from coordinator.states import JobStatus

if TYPE_CHECKING:
    from coordinator.coordinator import Coordinator

FIRST_POLL_S, LAST_POLL_S = 0.05, 0.5
PATIENCE_S = 30.0  # how long servers may be unreachable before the watch gives up


class View(AbstractContextManager["View"], Protocol):
    """Shows each new status, and what hinders it."""

    def update(self, status: JobStatus) -> None: ...

    def note(self, text: str) -> None: ...


@click.command("watch")
@job_argument
@timeout_option
@common
@click.pass_obj
def watch_command(session: Session, job: str, timeout: float | None) -> int:
    """Follow a job until it ends; Ctrl-C detaches and the job goes on.

    With nothing configured, a private worker runs for as long as the watch does.
    """
    job_id = session.find(job, worker=True)
    view = JsonLines() if session.is_json else view_for(session, sys.stdout)
    ended = follow(session, job_id, view, timeout_s=timeout)
    if ended is None:
        return DETACHED
    session.coordinator().result(job_id)  # Raises what the exit code is made of.
    return 0


def follow(session: Session, job_id: str, view: View, *, timeout_s: float | None) -> JobStatus | None:
    """Show a job's progress until it ends.

    Returns:
        Its last status, or None if the user detached with Ctrl-C.

    Raises:
        WaitTimeout: when ``timeout_s`` seconds have passed; the job goes on.
    """
    session.job = job_id
    try:
        with view:
            return _poll(session, job_id, view, timeout_s)
    except KeyboardInterrupt:
        has_worker = session.opened and session.opened.worker
        goes_on = "its private worker ends, and the next one goes on with it" if has_worker else "it goes on"
        again = f"{program_name()} watch {job_id}"
        click.echo(f"detached from the job; {goes_on}. To follow it again: {again}", err=True)
        return None


def _poll(session: Session, job_id: str, view: View, timeout_s: float | None) -> JobStatus:
    coordinator, begun, pause_s = session.coordinator(), time.monotonic(), FIRST_POLL_S
    while True:
        status = _patient_status(coordinator, job_id, view)
        view.update(status)
        if status.state.is_terminal:
            return status
        if session.opened:
            session.opened.check()
        if timeout_s is not None and time.monotonic() - begun > timeout_s:
            raise WaitTimeout(f"job {job_id} had not ended after {span(timeout_s * 1000)}", job=job_id)
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.3, LAST_POLL_S)


def _patient_status(coordinator: Coordinator, job_id: str, view: View) -> JobStatus:
    # A server that restarts must not end the watch of a job that outlives it.
    begun = time.monotonic()
    while True:
        try:
            return coordinator.status(job_id)
        except Unreachable as error:
            if time.monotonic() - begun > PATIENCE_S:
                raise
            view.note(f"{error}; trying again")
        time.sleep(LAST_POLL_S)


def view_for(session: Session, out: IO[str]) -> View:
    """Return the view that suits where the output goes."""
    if session.output != "plain" and out.isatty():
        return LiveLine(out)
    return PlainLines(out)


class PlainLines(nullcontext["PlainLines"]):
    """A line for every change of the state or of a whole percent."""

    def __init__(self, out: IO[str]) -> None:
        super().__init__(self)
        self.out = out
        self.shown: tuple[object, ...] = ()

    def note(self, text: str) -> None:
        if self.shown != (text,):
            self.shown = (text,)
            click.echo(text, err=True)

    def update(self, status: JobStatus) -> None:
        change = (status.state, status.steps_done * 100 // max(status.steps_total, 100))
        if change != self.shown:
            self.shown = change
            now = clock(int(time.time() * 1000))
            click.echo(f"{now} {status.id} {status.state} {_steps(status)}", file=self.out)


class JsonLines(PlainLines):
    """One JSON object a line for every change."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)

    def update(self, status: JobStatus) -> None:
        if (change := (status.state, status.steps_done, status.steps_total)) != self.shown:
            self.shown = change
            show_json(status, indent=None)


class LiveLine:
    """One line that is redrawn in place, and stays when the job has ended."""

    def __init__(self, out: IO[str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        console = Console(file=out, highlight=False)
        wide = console.width >= 80
        columns = [
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[state]}"),
        ]
        columns += [
            BarColumn(bar_width=None if wide else 10),
            TextColumn("{task.fields[steps]}"),
            TimeElapsedColumn(),
        ]
        self.wide = wide
        self.progress = Progress(*columns, console=console, expand=wide)
        self.task: Any = None
        self.shown = ""

    def note(self, text: str) -> None:
        if self.shown != text:
            self.shown = text
            self.progress.console.print(text)

    def __enter__(self) -> LiveLine:
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After Ctrl-C half a line would stay beside the terminal's ^C.
        self.progress.live.transient = kind is not None
        self.progress.stop()

    def update(self, status: JobStatus) -> None:
        if self.task is None:
            name = status.id if self.wide else status.id[-12:]
            self.task = self.progress.add_task(name, total=None, state="", steps="")
        self.shown = ""
        total = status.steps_total or None
        self.progress.update(
            self.task,
            total=total,
            completed=status.steps_done,
            state=f"[{STYLES[status.state]}]{status.state}[/]",
            steps=_steps(status),
        )


def _steps(status: JobStatus) -> str:
    return f"{status.steps_done}/{status.steps_total} steps" if status.steps_total else ""
