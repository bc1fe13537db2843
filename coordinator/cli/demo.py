"""``demo``: the shipped job on the shipped data set, with nothing configured."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from coordinator import registry
from coordinator.cli.exits import DETACHED
from coordinator.cli.options import common
from coordinator.cli.output import show_fields, show_json
from coordinator.cli.progress import view_for
from coordinator.cli.session import Session, program_name
from coordinator.cli.watch import follow
from coordinator.errors import InvalidRequest

KIND = "process_data"
FIRST_ROWS = 5
#: Small enough that the small data set is cleaned in several steps, side by side.
PARTITION_BYTES = 200_000


@click.command("demo")
@click.option(
    "--destination", metavar="FOLDER", help="Where the output goes; default: ./demo-output/DATE-TIME."
)
@common
@click.pass_obj
def demo_command(session: Session, destination: str | None) -> int | None:
    """Run process_data on the data set that is shipped; needs no server."""
    folder = Path(destination) if destination else _fresh_folder()
    files = shipped(use_shipped_jobs())
    params = {**files, "destination": str(folder.absolute()), "partition_bytes": PARTITION_BYTES}
    session.kind = KIND
    click.echo(f"{KIND}: check {_near(files['source'])} against {_near(files['rules'])}", err=True)
    receipt = session.submitted(session.coordinator(worker=True).submit(KIND, params))
    if follow(session, receipt.id, view_for(session, sys.stderr), timeout_s=None) is None:
        return DETACHED
    result = session.coordinator().result(receipt.id)
    if session.is_json:
        show_json(result)
    else:
        show_outcome(result)
        click.echo(f"\nHow it ran: {program_name()} steps {receipt.id}")
    return None


def use_shipped_jobs() -> Path:
    """Let the shipped jobs be the only ones, whatever project this folder holds; return their data's folder.

    Raises:
        InvalidRequest: the extra that they need is not installed.
    """
    for needed in ("polars", "numpy", "zstandard", "jinja2"):
        if registry.is_missing(needed):
            raise InvalidRequest(f"expected {needed}, found none; install Batuta with its extra process-data")
    wheels = find_spec(registry.SHIPPED)
    os.environ["COORDINATOR_JOBS"] = registry.SHIPPED if wheels else registry.DEFAULT
    folder = Path(wheels.origin or "").parent if wheels else Path(__file__).resolve().parents[2]
    return folder / "data"


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


def show_outcome(result: dict[str, Any]) -> None:
    """Print counts, the first reasons and where things lie."""
    quarantined = f"{result['quarantined']:,} ({result['share']:.1%})"
    counts = {"rows": f"{result['rows']:,}", "valid": f"{result['valid']:,}", "quarantined": quarantined}
    show_fields(counts.items())
    click.echo("\nRules that were broken, and how often:")
    for rule, count in sorted(result["rules"].items(), key=lambda entry: -entry[1]):
        click.echo(f"  {count:>6,}  {rule}")
    click.echo("\nThe first quarantined rows, and why:")
    for row in result["first_reasons"][:FIRST_ROWS]:
        click.echo(f"  {row['source']} row {row['row']}: {'; '.join(row['reasons'])}")
    click.echo()
    show_fields([("output", _near(result["destination"])), ("report", _near(result["report"]))])


def _near(path: str) -> str:
    near = os.path.relpath(path)
    return path if near.startswith("..") else near


def _fresh_folder() -> Path:
    return Path("demo-output") / f"{datetime.now().astimezone():%Y-%m-%d-%H%M%S}"
