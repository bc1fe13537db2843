"""``watch``: follow a job with one live line on a terminal, or a line a change in a pipe.

Ctrl-C detaches and never cancels.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import click

from coordinator.cli.exits import DETACHED
from coordinator.cli.options import common, job_argument, timeout_option
from coordinator.cli.output import span
from coordinator.cli.progress import JsonLines, View, view_for
from coordinator.cli.session import Session, program_name
from coordinator.errors import Unreachable, WaitTimeout
from coordinator.states import JobStatus

T = TypeVar("T")

FIRST_POLL_S, LAST_POLL_S = 0.05, 0.5
IDLE_S = 15.0  # how long a job may wait for its first step before the watch wonders
PATIENCE_S = 30.0  # how long servers may be unreachable before the watch gives up


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
        if has_worker:
            text = "detached; the private worker is stopped, and the job goes on when you follow it again:"
        else:
            text = "detached; the job goes on. To follow it again:"
        click.echo(f"{text}\n  {program_name()} watch {job_id}", err=True)
        return None


def _poll(session: Session, job_id: str, view: View, timeout_s: float | None) -> JobStatus:
    coordinator, begun, pause_s = session.coordinator(), time.monotonic(), FIRST_POLL_S
    while True:
        status = patient(partial(coordinator.status, job_id), view.note)
        view.update(status)
        if status.state.is_terminal:
            return status
        if session.opened:
            session.opened.check()
        if not status.steps_done and time.monotonic() - begun > IDLE_S:
            view.note(f"nothing has run yet; is there a worker? {program_name()} doctor")
        if timeout_s is not None and time.monotonic() - begun > timeout_s:
            raise WaitTimeout(f"job {job_id} had not ended after {span(timeout_s * 1000)}", job=job_id)
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.3, LAST_POLL_S)


def patient(call: Callable[[], T], tell: Callable[[str], object]) -> T:
    """Call again while the servers are away: one that restarts must not end what outlives it.

    Raises:
        Unreachable: they were for 30 s.
    """
    begun = time.monotonic()
    while True:
        try:
            return call()
        except Unreachable as error:
            if time.monotonic() - begun > PATIENCE_S:
                raise
            tell(f"{error}; trying again")
        time.sleep(LAST_POLL_S)
