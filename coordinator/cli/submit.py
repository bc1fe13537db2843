"""``submit`` and ``run``: send a request; ``run`` also waits for its result."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import IO, Any, TypeVar

import click

from coordinator.cli.exits import DETACHED
from coordinator.cli.forecast import forecast_row, show_serving
from coordinator.cli.kinds import KindCommand, strange_params, text_params
from coordinator.cli.options import Duration, common, kind_argument, read_params, timeout_option
from coordinator.cli.output import Column, show_json, show_rows
from coordinator.cli.progress import view_for
from coordinator.cli.session import Session, program_name
from coordinator.cli.watch import follow
from coordinator.states import Receipt

F = TypeVar("F", bound=Callable[..., Any])

PLAN_COLUMNS = (
    Column("STEP", lambda row: row["step"]),
    Column("TASK", lambda row: row["task"], folds=True),
    Column("MESSAGES", lambda row: f"{row['messages']:,}"),
    Column("QUEUE", lambda row: ", ".join(row["queues"]), spare=True),
)


def request_options(command: F) -> F:
    """Add the options that make a request."""
    for option in reversed(
        [
            kind_argument,
            click.option(
                "-p",
                "pairs",
                multiple=True,
                metavar="KEY=VALUE",
                help="A parameter; JSON where it parses, else text.",
            ),
            click.option(
                "--params",
                "file",
                type=click.File(encoding="utf-8"),
                metavar="FILE",
                help="Parameters from a JSON or TOML file; - reads JSON from stdin. -p wins.",
            ),
            click.option("--key", help="Idempotency key: the same key makes one job."),
            click.option("--queue", help="Queue for the steps; default: COORDINATOR_QUEUE."),
            click.option("--priority", type=click.IntRange(0, 9), help="0 to 9; 9 goes first."),
            click.option(
                "--deadline",
                type=Duration(),
                metavar="TIME",
                help="The job fails if it takes longer (90, 10m, 2h).",
            ),
        ]
    ):
        command = option(command)
    return command


@click.command("submit", cls=KindCommand)
@request_options
@click.option("--dry-run", is_flag=True, help="Show steps, queues and workers; send nothing.")
@click.option("--watch", is_flag=True, help="Follow the job until it ends.")
@timeout_option
@common
@click.pass_obj
def submit_command(
    session: Session, /, kind: str, dry_run: bool, watch: bool, timeout: float | None, **request: Any
) -> int | None:
    """Submit a job and print its id."""
    if timeout is not None and not watch:
        raise click.UsageError(
            "expected --watch beside --timeout, which says how long to watch; --deadline ends the job",
            click.get_current_context(),
        )
    if dry_run:
        show_plan(session, kind, **request)
        return None
    receipt = submit(session, kind, worker=watch, **request)
    if session.is_json:
        show_json(receipt)
    else:
        click.echo(receipt.id)
    if not watch:
        return None
    if follow(session, receipt.id, view_for(session, sys.stderr), timeout_s=timeout) is None:
        return DETACHED
    session.coordinator().result(receipt.id)  # Raises what the exit code is made of.
    return None


@click.command("run", cls=KindCommand)
@request_options
@timeout_option
@common
@click.pass_obj
def run_command(session: Session, /, kind: str, timeout: float | None, **request: Any) -> int | None:
    """Submit a job, watch it, print its result as JSON.

    With nothing configured, a private server and worker are started and stopped again.
    """
    receipt = submit(session, kind, worker=True, **request)
    if follow(session, receipt.id, view_for(session, sys.stderr), timeout_s=timeout) is None:
        return DETACHED
    show_json(session.coordinator().result(receipt.id))
    return None


def submit(session: Session, kind: str, *, worker: bool, **request: Any) -> Receipt:
    """Send a request; say what happened on stderr.

    Raises:
        JobRejected: if the request was refused at once.
    """
    if request["key"] == "":
        raise click.BadParameter(
            "expected a key, got an empty text; without --key each is a job", param_hint="'--key'"
        )
    coordinator = session.coordinator(worker=worker)
    params = params_for(session, kind, request["pairs"], request["file"])
    receipt = session.submitted(
        coordinator.submit(
            kind,
            params,
            key=request["key"],
            queue=request["queue"],
            priority=request["priority"],
            deadline_s=request["deadline"],
        )
    )
    if receipt.status == "duplicate":
        click.echo(f"key {request['key']!r} was submitted before; this is its job", err=True)
    elif not worker:
        click.echo(f"accepted; to follow it: {program_name()} watch {receipt.id}", err=True)
        if session.embedded_home:
            click.echo(f"  which starts a worker too, as does: {program_name()} worker", err=True)
    return receipt


def show_plan(
    session: Session, kind: str, *, pairs: tuple[str, ...], file: IO[str] | None, **request: Any
) -> None:
    """Print the steps that a request would make; many parallel ones are one row."""
    from coordinator.graph import fold
    from coordinator.plan import NEVER

    coordinator = session.coordinator()
    wanted = {name: request.get(name) for name in ("queue", "priority")}
    plan = coordinator.plan(kind, params_for(session, kind, pairs, file), **wanted)
    forecast = coordinator.forecast(plan)
    serving = coordinator.serving(forecast)
    queues = {step.key: coordinator.queue_of(step) for step in plan.steps if step.after != NEVER}
    rows = [_planned(node.keys, node.task, queues) for node in fold(plan).nodes if node.kind == "step"]
    if session.is_json:
        show_json({"steps": rows, **forecast_row(forecast, serving)})
        return
    show_rows(session, rows, PLAN_COLUMNS, none="no steps")
    click.echo()
    show_serving(session, forecast, serving)


def _planned(keys: list[str], task: str, queues: dict[str, str]) -> dict[str, Any]:
    used = sorted({queues[key] for key in keys if key in queues})
    name = keys[0] if len(keys) == 1 else f"{keys[0]} – {keys[-1]}"
    return {"step": name, "task": task, "messages": sum(key in queues for key in keys), "queues": used}


def params_for(session: Session, kind: str, pairs: tuple[str, ...], file: IO[str] | None) -> dict[str, Any]:
    """Return the parameters of a request for ``kind``, as they were typed.

    Raises:
        click.BadParameter: naming each ``-p`` that the kind has no parameter for.
    """
    session.kind = kind
    found = session.coordinator().kind(kind)
    params = read_params(file, pairs, text_params(found))
    strangers = strange_params(found, [pair.partition("=")[0] for pair in pairs])
    if strangers:
        raise click.BadParameter("; ".join(strangers), param_hint="'-p'")
    return params
