"""What a plan would send and who would take it, as ``submit --dry-run`` and ``graph`` show it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from coordinator.cli.output import Column, show_rows
from coordinator.cli.session import Session, as_called
from coordinator.counted import counted

if TYPE_CHECKING:
    from coordinator.forecast import Forecast
    from coordinator.serving import Served, Serving

QUEUE_COLUMNS = (
    Column("QUEUE", lambda row: row.queue),
    Column("MESSAGES", lambda row: messages_of(row)),
    Column("WORKERS", lambda row: workers_of(row), folds=True),
)


def show_serving(session: Session, forecast: Forecast, serving: Serving) -> None:
    """Print a row for each queue, then how many messages are to be expected."""
    show_rows(session, serving.queues, QUEUE_COLUMNS, none="nothing to send")
    if serving.fault:
        click.echo(f"the workers could not be asked: {serving.fault}", err=True)
    elif all(not served.workers for served in serving.queues) and session.embedded_home:
        click.echo("`run`, `watch` and `submit --watch` start a private worker by themselves", err=True)
    for line in expected(forecast):
        click.echo(line, err=True)


def forecast_row(forecast: Forecast, serving: Serving) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "messages": forecast.messages,
        "at_least": forecast.least,
        "at_most": forecast.most,
        "more": [asdict(more) for more in forecast.more],
        "queues": [asdict(served) for served in serving.queues],
        "workers_fault": serving.fault,
    }


def expected(forecast: Forecast) -> list[str]:
    """Say how many messages a run without a failure sends, and on what that depends."""
    lines = [counted(forecast.messages, "message") + (", and those of each" if forecast.more else "")]
    lines += [f"  step {more.step} adds {more.words}" for more in forecast.more]
    if forecast.spared:
        lines.append(f"  races send up to {forecast.spared:,} fewer: what is lost is not sent")
    if forecast.more or forecast.spared:
        most = (
            f"at most {forecast.most:,}"
            if forecast.most is not None
            else "no bound before the items are known"
        )
        lines.append(f"  at least {forecast.least:,}, {most}; retries and replace add theirs")
    return lines


def messages_of(served: Served) -> str:
    """Return how many messages go to a queue, as far as is known."""
    return " + ".join([f"{served.messages:,}", *(f"each of {key}" for key in served.more)])


def workers_of(served: Served) -> str:
    """Return who reads a queue, or that nobody does, and what to do."""
    if served.workers is None:
        return "not asked"
    names = ", ".join(served.workers) or "none"
    return f"{names}; {as_called(served.advice)}" if served.advice else names
