"""``bench``: measure one's own cluster with jobs made for it."""

from __future__ import annotations

from dataclasses import asdict

import click

from coordinator.cli.options import Duration, common
from coordinator.cli.output import Column, show_rows
from coordinator.cli.session import Session

COLUMNS = (
    Column("MEASURED", lambda row: row["what"]),
    Column("VALUE", lambda row: f"{row['value']:,.2f}" if row["value"] < 100 else f"{row['value']:,.0f}"),
    Column("UNIT", lambda row: row["unit"]),
)


@click.command("bench")
@click.option(
    "--steps",
    type=click.IntRange(min=1, max=100_000),
    default=1000,
    show_default=True,
    help="Of the fan-out.",
)
@click.option("--queue", default="", help="Where the steps go; default: COORDINATOR_QUEUE.")
@click.option(
    "--timeout", type=Duration(), default="60s", show_default=True, metavar="TIME", help="For each job."
)
@common
@click.pass_obj
def bench_command(session: Session, steps: int, queue: str, timeout: float) -> None:
    """Measure submits, a chain and a fan-out on your own cluster; its steps do nothing.

    They stand in line behind the jobs that are there: on a busy cluster you measure its line.
    """
    from coordinator.bench import Bench

    coordinator = session.coordinator(worker=True)
    bench = Bench(coordinator, queue=queue, timeout_s=timeout)
    rows = [asdict(figure) for figure in bench.run(steps, lambda line: click.echo(line, err=True))]
    show_rows(session, rows, COLUMNS, none="nothing was measured")
