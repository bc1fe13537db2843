"""``chaos``: kill parts of one's own cluster under jobs made for it, and see that none is lost."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from coordinator.cli.options import Duration, common
from coordinator.cli.output import show_fields, show_json
from coordinator.cli.session import Session, program_name
from coordinator.cli.steer import is_askable

if TYPE_CHECKING:
    from coordinator.chaos import Victim


@click.command("chaos")
@click.option(
    "--duration", type=Duration(), default="30s", show_default=True, metavar="TIME", help="How long."
)
@click.option("--seed", type=int, help="The same seed chooses alike; default: a new one, which is printed.")
@click.option(
    "--workers",
    "whole_workers",
    is_flag=True,
    help="Kill whole workers too: something of yours must restart them.",
)
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@common
@click.pass_obj
def chaos_command(session: Session, duration: float, seed: int | None, whole_workers: bool, yes: bool) -> int:
    """Kill children and members of a fleet on this host under small jobs, and report.

    Your own jobs survive it as they survive any kill, but a step that is cut short runs again.
    """
    from coordinator import about
    from coordinator.chaos import Chaos, victims
    from coordinator.parts import Parts

    coordinator = session.coordinator()
    workers = about.ask(coordinator.app, coordinator.settings)
    found = victims(workers, whole_workers=whole_workers)
    if not found:
        here = f"{len(workers)} on other hosts, or in containers" if workers else "none at all"
        raise click.UsageError(
            f"expected workers on this host, found {here}; only processes of this host are killed: "
            "start chaos there",
            click.get_current_context(),
        )
    _ask(found, yes=yes)
    seed = random.randrange(10**6) if seed is None else seed  # noqa: S311  no secret
    chaos = Chaos(
        Parts(coordinator.app, coordinator.settings),
        seed=seed,
        whole_workers=whole_workers,
        say=lambda line: click.echo(line, err=True),
    )
    report = chaos.run(duration)
    facts = {
        "seed": report.seed,
        "kills": dict(report.kills),
        "jobs": report.jobs,
        "completed": report.completed,
        "failed": report.failed,
        "hung": report.hung,
        "recorded_twice": report.recorded_twice,
        "run_again": report.run_again,
    }
    _show(session, facts)
    return int(not report.ok)


def _ask(found: Sequence[Victim], *, yes: bool) -> None:
    names = sorted({victim.worker for victim in found})
    question = f"kill {len(found)} processes of {', '.join(names)} at random, with whatever steps they run?"
    if yes:
        return
    if not is_askable():
        raise click.UsageError(f"{question} nobody to ask, so -y is needed", click.get_current_context())
    click.confirm(question, abort=True, err=True)


def _show(session: Session, facts: dict[str, object]) -> None:
    if session.is_json:
        show_json(facts)
        return
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{count} {what}" for what, count in value.items()) or "none"
        elif isinstance(value, list):
            value = f"{len(value)}" + (
                f": {', '.join(value)}; {program_name()} why {value[0]}" if value else ""
            )
        lines.append((name.replace("_", " "), str(value)))
    show_fields(lines)
