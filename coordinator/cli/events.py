"""``events``: what happened to a job, or to all jobs, once or as it happens."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import click

from coordinator.cli.exits import DETACHED
from coordinator.cli.options import common, kind_option, optional_job_argument, state_option
from coordinator.cli.output import clock, show_json
from coordinator.cli.progress import PlainLines
from coordinator.cli.session import Session
from coordinator.cli.watch import patient
from coordinator.states import State

if TYPE_CHECKING:
    from coordinator.coordinator import Coordinator
    from coordinator.states import Event

POLL_S = 0.5
#: The events by which a job comes into a state that are not called like it.
ENTERS = {"submitted": State.RECEIVED, "resumed": State.PROCESSING, "retried": State.PROCESSING}


@click.command("events")
@optional_job_argument
@click.option(
    "-f", "--follow", is_flag=True, help="Go on until the job has ended; without JOB, until Ctrl-C."
)
@kind_option
@state_option
@common
@click.pass_obj
def events_command(
    session: Session, job: str | None, follow: bool, kind: str | None, state: str | None
) -> int | None:
    """Show what happened to JOB, or to all jobs; with -o json, one JSON object a line.

    Without JOB: what is kept of all jobs (some 32,000 events), or with --follow what happens from now on.
    --state shows only the events by which a job comes into that state.
    """
    if job is None:
        found: Iterable[Event] = all_events(session, kind, follow=follow)
    elif kind is not None:
        raise click.UsageError("expected JOB or --kind, got both: a job is of one kind")
    else:
        job_id = session.find(job)
        coordinator = session.coordinator()
        found = followed(coordinator, job_id) if follow else coordinator.events(job_id)
    try:
        show_events(session, (event for event in found if state in (None, entered(event))))
    except KeyboardInterrupt:
        if not follow:
            raise
        return DETACHED  # the way to end it: no fault to tell of
    return None


def show_events(session: Session, found: Iterable[Event]) -> None:
    """Print events as they come."""
    for event in found:
        if session.is_json:
            show_json(event, indent=None)
        else:
            job = "" if session.job else event.job
            words = [
                clock(event.at_ms),
                job,
                f"{event.event:<11}",
                event.step,
                event.detail,
            ]
            click.echo("  ".join(filter(None, words)).rstrip())


def entered(event: Event) -> str:
    """Return the state that a job came into by an event; an event that changes none is its own name."""
    return ENTERS.get(event.event, event.event)


def followed(coordinator: Coordinator, job_id: str) -> Iterator[Event]:
    """Yield events until the job has ended and the last one is seen."""
    after, ended, tell = "0", False, PlainLines(sys.stdout).note
    while True:
        # The state is read before the events: else those of the last moment would be missed.
        ended = patient(partial(coordinator.status, job_id), tell).state.is_terminal
        for event in patient(partial(coordinator.events, job_id, after=after), tell):
            after = event.id
            yield event
        if ended:
            return
        time.sleep(POLL_S)


def all_events(session: Session, kind: str | None, *, follow: bool) -> Iterator[Event]:
    """Yield the events of all jobs: those that are kept, or for ever those that come."""
    feed, tell = session.coordinator().feed(past=not follow), PlainLines(sys.stdout).note
    session.say("all that is kept" if not follow else "from now on; Ctrl-C ends it")
    yield from feed.new(kind)
    while follow:
        time.sleep(POLL_S)
        yield from patient(partial(feed.new, kind), tell)
