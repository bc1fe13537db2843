"""Commands that change a job's course: by ids, or by a filter with a question first."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from coordinator.cli import completion
from coordinator.cli.exits import exit_code
from coordinator.cli.options import common, kind_option, state_option
from coordinator.cli.output import coloured, show_json
from coordinator.cli.session import Session
from coordinator.counted import counted
from coordinator.errors import BatutaError, Unreachable
from coordinator.states import JobStatus, State

F = TypeVar("F", bound=Callable[..., Any])
Change = Callable[[str], JobStatus]

MOST_JOBS = 100_000
SHOWN_JOBS = 5
# A filter without --state takes the jobs that the verb can change.
FITTING: dict[str, frozenset[State]] = {
    "cancel": frozenset({State.RECEIVED, State.PROCESSING, State.PAUSED}),
    "pause": frozenset({State.PROCESSING}),
    "resume": frozenset({State.PAUSED}),
    "retry": frozenset({State.FAILED, State.CANCELLED}),
}


def target_options(command: F) -> F:
    """Add ids, the filter and ``-y``."""
    for option in reversed(
        [
            click.argument("jobs", metavar="[JOB]...", nargs=-1, shell_complete=completion.jobs),
            state_option,
            kind_option,
            click.option("-y", "--yes", is_flag=True, help="Don't ask."),
        ]
    ):
        command = option(command)
    return command


@click.command("cancel")
@target_options
@click.option("--reason", default="", help="Kept with the job.")
@common
@click.pass_obj
def cancel_command(session: Session, /, reason: str, **targets: Any) -> int:
    """Cancel jobs: nothing more of them starts; `retry` takes them up again."""
    return steer(session, "cancel", lambda job: session.coordinator().cancel(job, reason=reason), **targets)


@click.command("pause")
@target_options
@common
@click.pass_obj
def pause_command(session: Session, /, **targets: Any) -> int:
    """Hold jobs: steps that run are finished, nothing more starts until `resume`."""
    return steer(session, "pause", lambda job: session.coordinator().pause(job), **targets)


@click.command("resume")
@target_options
@common
@click.pass_obj
def resume_command(session: Session, /, **targets: Any) -> int:
    """Let paused jobs go on."""
    return steer(session, "resume", lambda job: session.coordinator().resume(job), **targets)


@click.command("retry")
@target_options
@click.option("--from", "from_step", metavar="STEP", help="Run this step and what follows it again.")
@common
@click.pass_obj
def retry_command(session: Session, /, from_step: str | None, **targets: Any) -> int:
    """Run failed or cancelled jobs again; what is recorded is kept."""

    def change(job: str) -> JobStatus:
        return session.coordinator().retry(job, from_step=from_step)

    return steer(session, "retry", change, **targets)


@click.command("tune")
@click.argument("job", shell_complete=completion.jobs)
@click.argument("step")
@click.option("--window", type=click.IntRange(1), help="How many batches may be in flight.")
@click.option("--batch", type=click.IntRange(0), help="How many items a batch has; 0: by measure.")
@common
@click.pass_obj
def tune_command(session: Session, /, job: str, step: str, window: int | None, batch: int | None) -> int:
    """Change the limits of an `each` that runs in batches; STEP is its id or key, see `steps`."""
    if window is None and batch is None:
        raise click.UsageError("expected --window, --batch or both: what to change?", _context())

    def change(job_id: str) -> JobStatus:
        return session.coordinator().tune(job_id, step, window=window, batch=batch)

    return _change_all(session, [session.find(job)], change)


def steer(
    session: Session,
    verb: str,
    change: Change,
    *,
    jobs: tuple[str, ...],
    state: str | None,
    kind: str | None,
    yes: bool,
) -> int:
    """Apply a change to the jobs that are meant; one that fails doesn't stop the others.

    Returns:
        0, or the exit code of the last job that could not be changed.
    """
    if bool(jobs) == bool(state or kind):
        raise click.UsageError(
            f"expected job ids, or --state and/or --kind: which jobs to {verb}?", _context()
        )
    ids = [session.find(job) for job in jobs] if jobs else _matching(session, verb, state, kind)
    if not ids:
        click.echo(f"no job to {verb}", err=True)
    elif len(jobs) != 1 and not yes:
        _ask(verb, ids)
    return _change_all(session, ids, change)


def _matching(session: Session, verb: str, state: str | None, kind: str | None) -> list[str]:
    found = session.coordinator().jobs(state=state, kind=kind, limit=MOST_JOBS)
    return [job.id for job in found if state or job.state in FITTING[verb]]


def is_askable() -> bool:
    """Whether somebody sits at the keyboard."""
    return sys.stdin.isatty()


def _ask(verb: str, ids: list[str]) -> None:
    if not is_askable():
        raise click.UsageError(
            f"{counted(len(ids), 'job')} to {verb}: nobody to ask, so -y is needed", _context()
        )
    for job_id in ids[:SHOWN_JOBS]:
        click.echo(f"  {job_id}", err=True)
    if len(ids) > SHOWN_JOBS:
        click.echo(f"  … and {len(ids) - SHOWN_JOBS} more", err=True)
    click.confirm(f"{verb} {counted(len(ids), 'job')}?", abort=True, err=True)


def _change_all(session: Session, ids: list[str], change: Change) -> int:
    code, answers = 0, []
    for job_id in ids:
        try:
            status = change(job_id)
        except BatutaError as error:
            if isinstance(error, Unreachable) or len(ids) == 1:
                raise
            code = exit_code(error)
            answers.append({"id": job_id, "error": str(error)})
            if not session.is_json:
                click.echo(f"error: {error}", err=True)
        else:
            answers.append({"id": job_id, "state": status.state.value})
            if not session.is_json:
                click.echo(f"{job_id} {coloured(status.state)}")
    if session.is_json:
        show_json(answers)
    return code


def _context() -> click.Context:
    return click.get_current_context()
