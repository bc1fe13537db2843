"""``doctor``: what is wrong with broker, Redis, settings or workers, and what to do."""

from __future__ import annotations

import click

from coordinator.cli.options import common
from coordinator.cli.output import Column, show_rows
from coordinator.cli.session import Session, as_called

COLUMNS = (
    Column("CHECK", lambda finding: finding.name),
    Column("VERDICT", lambda finding: finding.level),
    Column("FOUND", lambda finding: finding.found, folds=True),
    Column("ADVICE", lambda finding: as_called(finding.advice), folds=True),
)


@click.command("doctor")
@common
@click.pass_obj
def doctor_command(session: Session) -> int:
    """Check broker, Redis, settings and workers; exit 1 if something is wrong."""
    findings = session.coordinator().findings()
    show_rows(session, findings, COLUMNS, none="nothing was checked")
    return int(any(finding.level == "error" for finding in findings))
