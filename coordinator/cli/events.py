"""``events``: what happened to a job, once or as it happens."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from coordinator.cli.options import common, job_argument
from coordinator.cli.output import clock, show_json
from coordinator.cli.session import Session

if TYPE_CHECKING:
    from coordinator.coordinator import Coordinator
    from coordinator.states import Event

POLL_S = 0.5


@click.command("events")
@job_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@common
@click.pass_obj
def events_command(session: Session, job: str, follow: bool) -> None:
    """Show what happened to a job; with -o json, one JSON object a line."""
    job_id = session.find(job)
    coordinator = session.coordinator()
    found = followed(coordinator, job_id) if follow else coordinator.events(job_id)
    show_events(session, found)


def show_events(session: Session, found: Iterable[Event]) -> None:
    """Print events as they come."""
    for event in found:
        if session.is_json:
            show_json(event, indent=None)
        else:
            words = [clock(event.at_ms), f"{event.event:<11}", event.step, event.detail]
            click.echo("  ".join(filter(None, words)).rstrip())


def followed(coordinator: Coordinator, job_id: str) -> Iterator[Event]:
    """Yield events until the job has ended and the last one is seen."""
    after, ended = "0", False
    while True:
        # The state is read before the events: else those of the last moment would be missed.
        ended = coordinator.status(job_id).state.is_terminal
        for event in coordinator.events(job_id, after=after):
            after = event.id
            yield event
        if ended:
            return
        time.sleep(POLL_S)
