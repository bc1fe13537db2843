"""``demo``: the shipped job on the shipped data set, with nothing configured."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from coordinator.cli.exits import DETACHED
from coordinator.cli.options import common
from coordinator.cli.output import one_line, show_fields, show_json
from coordinator.cli.session import Session, program_name
from coordinator.cli.watch import follow, view_for
from coordinator.errors import InvalidRequest

DATA = Path(__file__).resolve().parents[2] / "data"
KIND = "process_data"
FIRST_REASONS = 5


@click.command("demo")
@click.option(
    "--destination", metavar="FOLDER", help="Where the output goes; default: ./demo-output/DATE-TIME."
)
@common
@click.pass_obj
def demo_command(session: Session, destination: str | None) -> int | None:
    """Run process_data on the data set that is shipped; needs no server."""
    folder = Path(destination) if destination else _fresh_folder()
    params = {**shipped(DATA), "destination": str(folder.resolve())}
    session.kind = KIND
    click.echo(f"{KIND}: checking and cleaning {params['source']}", err=True)
    receipt = session.coordinator(worker=True).submit(KIND, params)
    if follow(session, receipt.id, view_for(session, sys.stderr), timeout_s=None) is None:
        return DETACHED
    result = session.coordinator().result(receipt.id)
    if session.is_json:
        show_json(result)
    else:
        show_outcome(receipt.id, result)
    return None


def shipped(folder: Path) -> dict[str, str]:
    """Return the source and the rules of the data set in ``folder``.

    Raises:
        InvalidRequest: if it isn't there.
    """
    rules = sorted(folder.glob("*.rules.toml"))
    sources = [path for path in sorted(folder.iterdir()) if ".csv" in path.suffixes] if rules else []
    if not sources:
        raise InvalidRequest(f"expected a .csv and a .rules.toml file in {folder}, found none")
    return {"source": str(sources[0]), "rules": str(rules[0])}


def show_outcome(job_id: str, result: dict[str, Any]) -> None:
    """Print counts, the first reasons and where things lie."""
    show_fields([(name, one_line(value)) for name, value in result.items()])
    click.echo(f"\nhow it ran: {program_name()} steps {job_id}")


def _fresh_folder() -> Path:
    return Path("demo-output") / f"{datetime.now().astimezone():%Y-%m-%d-%H%M%S}"
