"""Commands that look at jobs and change nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import click

from coordinator.cli.options import (
    common,
    job_argument,
    kind_option,
    limit_option,
    state_option,
    step_state_option,
    timeout_option,
)
from coordinator.cli.output import (
    Column,
    age,
    clock,
    coloured,
    moment,
    one_line,
    show_fields,
    show_json,
    show_rows,
    span,
)
from coordinator.cli.session import Session, program_name
from coordinator.errors import UnknownKind
from coordinator.states import Flag, JobStatus, StepState, StepStatus

JOB_COLUMNS = (
    Column("JOB", lambda job: job.id),
    Column("STATE", lambda job: job.state),
    Column("VERSION", lambda job: job.version, spare=True),
    Column("STEPS", lambda job: f"{job.steps_done}/{job.steps_total}" if job.steps_total else ""),
    Column("CREATED", lambda job: age(job.created_ms), spare=True),
    Column("TOOK", lambda job: took(job), spare=True),
)
STEP_COLUMNS = (
    Column("STEP", lambda step: step.key),
    Column("TASK", lambda step: step.task, folds=True),
    Column("STATE", lambda step: step.state),
    Column("ATTEMPTS", lambda step: attempts_of(step), spare=True),
    Column("TOOK", lambda step: span(step.runtime_ms), spare=True),
    Column("WORKER", lambda step: step.worker, spare=True),
    Column("NOTE", lambda step: step_note(step), folds=True),
)
ALERT_COLUMNS = (
    Column("TIME", lambda alert: clock(alert.get("at_ms"))),
    Column("JOB", lambda alert: str(alert.get("job", "")), spare=True),
    Column("ALERT", lambda alert: str(alert.get("alert", "")), spare=True),
    Column("MESSAGE", lambda alert: str(alert.get("message", "")), folds=True),
)


@click.command("list")
@state_option
@kind_option
@limit_option(100)
@common
@click.pass_obj
def list_command(session: Session, state: str | None, kind: str | None, limit: int) -> None:
    """List jobs, newest first."""
    coordinator = session.coordinator()
    jobs = coordinator.jobs(state=state, kind=kind, limit=limit)
    show_rows(session, jobs, JOB_COLUMNS, none=no_jobs(session, state, kind))
    if not session.is_json:
        for line in older_versions(
            jobs, {name: coordinator.kind(name).version for name in coordinator.kinds()}
        ):
            click.echo(line, err=True)


@click.command("status")
@job_argument
@common
@click.pass_obj
def status_command(session: Session, job: str) -> None:
    """Show one job: state, progress, checks, error; with -v the traceback too."""
    status = session.coordinator().status(session.find(job))
    if session.is_json:
        show_json(status)
    else:
        show_status(status, with_traceback=session.verbose)


@click.command("result")
@job_argument
@click.option("--wait", is_flag=True, help="Wait until the job has ended.")
@timeout_option
@common
@click.pass_obj
def result_command(session: Session, job: str, wait: bool, timeout: float | None) -> None:
    """Print a job's result as JSON; exit 1 if it failed, 6 if cancelled, 124 if it still runs."""
    wait = wait or timeout is not None
    job_id = session.find(job, worker=wait)
    coordinator = session.coordinator()
    show_json(coordinator.wait(job_id, timeout_s=timeout) if wait else coordinator.result(job_id))


@click.command("steps")
@job_argument
@step_state_option
@limit_option(1000)
@common
@click.pass_obj
def steps_command(session: Session, job: str, state: str | None, limit: int) -> None:
    """List a job's steps."""
    job_id = session.find(job)
    # A filter looks at all steps, or the one that failed could lie behind the limit.
    steps = session.coordinator().steps(job_id, limit=None if state else limit)
    shown = [step for step in steps if state in (None, step.state)][:limit]
    show_rows(session, shown, STEP_COLUMNS, none=f"no step is {state}" if state else "no steps yet")


@click.command("alerts")
@limit_option(100)
@common
@click.pass_obj
def alerts_command(session: Session, limit: int) -> None:
    """List alerts, newest first."""
    show_rows(session, session.coordinator().alerts(limit=limit), ALERT_COLUMNS, none="no alerts")


def older_versions(jobs: Iterable[JobStatus], present: Mapping[str, str]) -> list[str]:
    """Say which of the jobs that have not ended go on with the plan of another version of their kind."""
    running = [job for job in jobs if job.version and not job.state.is_terminal]
    counts = Counter((job.kind, job.version) for job in running if present.get(job.kind, "") != job.version)
    return [
        f"{number:,} of {kind} {'goes' if number == 1 else 'go'} on as version {version}; "
        + (f"new ones are {present[kind]}" if kind in present else "the kind is not registered here")
        for (kind, version), number in sorted(counts.items())
    ]


def no_jobs(session: Session, state: str | None, kind: str | None) -> str:
    """Return that there are none, where that is so, and whether the kind may be mistyped."""
    where = f" in {session.embedded_home}" if session.embedded_home else ""
    if not state and not kind:
        return f"no jobs{where} yet"
    try:
        if kind:
            session.coordinator().kind(kind)
    except UnknownKind as error:
        return f"no jobs like that{where}: {error}"
    return f"no jobs like that{where}"


def show_status(status: JobStatus, *, with_traceback: bool = False) -> None:
    """Print one job for a person."""
    error = status.error or {}
    show_fields(
        [
            ("job", status.id),
            ("state", coloured(status.state) + (f": {status.reason}" if status.reason else "")),
            ("steps", steps_line(status)),
            ("kind", status.kind + (f", version {status.version}" if status.version else "")),
            ("created", moment(status.created_ms)),
            ("started", moment(status.started_ms)),
            ("finished", moment(status.finished_ms)),
            ("took", took(status)),
            ("params", "\n".join(f"{key}: {one_line(value)}" for key, value in status.params.items())),
            ("checks", "\n".join(map(flag_line, status.flags))),
            ("error", error_line(error)),
            ("traceback", str(error.get("traceback") or "") if with_traceback else ""),
            ("next", next_line(status)),
        ]
    )


def steps_line(status: JobStatus) -> str:
    """Return how many of a job's steps are done, and how many are not needed any more."""
    if not status.steps_total:
        return ""
    lost = f", {status.steps_lost} lost in races" if status.steps_lost else ""
    return f"{status.steps_done} of {status.steps_total} done{lost}"


def next_line(status: JobStatus) -> str:
    """Return the command that one would most likely want next."""
    verb = {"processing": "watch", "received": "watch", "paused": "resume", "failed": "retry"}
    verb |= {"cancelled": "retry", "succeeded": "result"}
    return f"{program_name()} {verb[status.state]} {status.id}" if status.state in verb else ""


def flag_line(flag: Flag) -> str:
    """Return one verdict of one check."""
    verdict = coloured("ok") if flag.valid else click.style("invalid", fg="red")
    return f"{flag.check}: {verdict}" + (f", {flag.reason}" if flag.reason else "")


def error_line(error: dict[str, object] | None) -> str:
    """Return what failed where."""
    if not error:
        return ""
    where = f"step {error['step']}: " if error.get("step") else ""
    return f"{where}{error.get('type', 'error')}: {error.get('message', '')}"


def took(job: JobStatus) -> str:
    """Return how long the job ran, if it has ended."""
    if not job.finished_ms:
        return ""
    return span(job.finished_ms - (job.started_ms or job.created_ms))


def attempts_of(step: StepStatus) -> str:
    """Return how often a step has begun; nothing of one that others stood for (`each`, `race`, `replace`)."""
    is_stood_for = not step.attempts and step.state in (StepState.SUCCEEDED, StepState.EXPANDED)
    return "" if is_stood_for else str(step.attempts)


def step_note(step: StepStatus) -> str:
    """Return what is worth knowing of a step: its error, or when its retry is due."""
    if step.due_ms:
        return f"due at {clock(step.due_ms)}"
    return one_line(error_line(step.error), 120) if step.error else ""
