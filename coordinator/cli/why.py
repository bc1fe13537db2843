"""``why``: why a job is not moving, and what to do."""

from __future__ import annotations

import click

from coordinator.cli.options import common, job_argument
from coordinator.cli.output import Column, show_rows
from coordinator.cli.session import Session, as_called

COLUMNS = (
    Column("REASON", lambda reason: reason.code),
    Column("FOUND", lambda reason: reason.found, folds=True),
    Column("ADVICE", lambda reason: as_called(reason.advice), folds=True),
)


@click.command("why")
@job_argument
@common
@click.pass_obj
def why_command(session: Session, job: str) -> None:
    """Say why a job is not moving, and what to do."""
    found = session.coordinator().why(session.find(job))
    show_rows(session, found, COLUMNS, none="nothing holds it up")
