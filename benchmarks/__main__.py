"""Every figure that is claimed, measured beside plain Celery in one run, as one table.

Run it as ``python -m benchmarks``. It starts a RabbitMQ and a Redis of its own; in each round every
row has its turn, and in each row the sides, one at a time on the same servers. Each round is kept at
once in ``benchmarks/results/table.json``: a run that was ended goes on with ``--missing``.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from benchmarks.kept import TABLE, Kept
from benchmarks.rows.row import FULL, QUICK, Row, Scale
from benchmarks.run import Run
from benchmarks.servers import private_servers
from benchmarks.table import rows, shown

WIDTH = 160


def _sizes(_context: object, _option: object, text: str | None) -> tuple[int, ...] | None:
    return tuple(int(part) for part in text.split(",")) if text else None


@click.command(help=__doc__)
@click.option("--rounds", type=click.IntRange(min=1), help="Of each timed row; default: 2 to 5, by its time.")
@click.option("--sizes", callback=_sizes, metavar="N,…", help="Of the joins; default: 5000,20000.")
@click.option("--only", multiple=True, metavar="ROW", help="This row alone (may be repeated).")
@click.option("--quick", is_flag=True, help="One round at small sizes, some minutes: shows that it works.")
@click.option("--missing", is_flag=True, help="Only what the kept table has not, at these sizes.")
@click.option("--minutes", type=float, help="Begin no further round after that; each row has one.")
@click.option("--show", is_flag=True, help="Print the kept table, measure nothing.")
@click.option("--out", type=click.Path(path_type=Path), help=f"Default: {TABLE.name}; with --quick, none.")
def main(
    rounds: int | None,
    sizes: tuple[int, ...] | None,
    only: tuple[str, ...],
    quick: bool,
    missing: bool,
    minutes: float | None,
    show: bool,
    out: Path | None,
) -> None:
    """Measure what was asked for, and print the table."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    kept = Kept(out or (None if quick else TABLE))
    if not show:
        scale = replace(QUICK if quick else FULL, **({"joins": sizes} if sizes else {}))
        chosen = _chosen(rows(scale.joins), only)
        _forget(kept, chosen, scale, missing=missing, all_of_them=not only)
        until = time.monotonic() + (minutes * 60 if minutes else float("inf"))
        run = Run(kept, chosen, scale, 1 if quick else rounds, until)
        with private_servers() as servers:
            os.environ.update(servers.env(), COORDINATOR_JOBS="benchmarks.noop_tasks")
            run.measure(servers)
            gc.collect()  # results that were waited for say so to Redis when they go
    console.print(shown(kept))
    if quick:
        console.print("Small sizes and one round: this shows that it works, not how fast it is.")


def _chosen(every: Sequence[Row], only: Sequence[str]) -> list[Row]:
    names = [row.name for row in every]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise click.UsageError(f"expected rows among {', '.join(names)}, got {', '.join(unknown)}")
    return [row for row in every if not only or row.name in only]


def _forget(kept: Kept, chosen: Sequence[Row], scale: Scale, *, missing: bool, all_of_them: bool) -> None:
    """Drop the rounds that are measured again: of all rows, or of those that were asked for."""
    if all_of_them and not missing:
        kept.rows.clear()
    for row in chosen:
        if not missing or (row.name in kept.rows and not kept.scale(row.name).is_as(scale)):
            kept.drop(row.name)


if __name__ == "__main__":
    main()
