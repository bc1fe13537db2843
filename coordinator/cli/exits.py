"""How a command ends: the exit code of each error, and its message.

One or two plain lines on stderr, or one JSON object on stdout with ``-o json``;
a traceback only with ``--debug``.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping

import click

from coordinator import errors
from coordinator.cli.session import Session, as_called, program_name

FAILED, USAGE, REJECTED, NOT_FOUND, UNREACHABLE, CANCELLED = 1, 2, 3, 4, 5, 6
DEFECT, TIMED_OUT, DETACHED, PIPE_CLOSED = 70, 124, 130, 141

# The nearest class in an error's family decides.
CODES: dict[type[BaseException], int] = {
    errors.SettingsError: USAGE,
    errors.BuilderFailed: USAGE,
    errors.UnknownKind: USAGE,
    errors.InvalidRequest: REJECTED,
    errors.IllegalTransition: REJECTED,
    errors.JobRejected: REJECTED,
    errors.StepTooLarge: REJECTED,
    errors.JobNotFound: NOT_FOUND,
    errors.Unreachable: UNREACHABLE,
    errors.JobCancelled: CANCELLED,
    errors.WaitTimeout: TIMED_OUT,
    errors.BatutaError: FAILED,
    click.ClickException: USAGE,
    click.Abort: DETACHED,
    KeyboardInterrupt: DETACHED,
    OSError: USAGE,
    BaseException: DEFECT,
}

# What to do next: {p} is the program as it was called, {job} the job.
ADVICE: dict[type[BaseException], str] = {
    errors.JobFailed: "the traceback: {p} status -v {job}\nonce mended: {p} retry {job}",
    errors.JobCancelled: "to go on from what is recorded: {p} retry {job}",
    errors.JobRejected: "the checks: {p} status {job}",
    errors.WaitTimeout: "it goes on; to follow it: {p} watch {job}",
    errors.NotMeasured: "does a worker read its queue, and is it free? {p} doctor\nmore time: --timeout",
    errors.BuilderFailed: "where: --debug",
    errors.UnknownKind: "the kinds: {p} kinds",
    errors.InvalidParams: "the parameters: {p} kinds {kind}",
    errors.Unreachable: "to find out why: {p} doctor",
}


class ReaderLeft(Exception):
    """Whoever read the output went away (``| head``): not a fault, and nowhere to say so."""


def exit_code(error: BaseException) -> int:
    """Return the documented exit code for ``error``."""
    return CODES[_nearest(error, CODES)]


def report(error: BaseException, session: Session) -> int:
    """Tell ``error`` to the user and return the exit code."""
    if isinstance(error, ReaderLeft):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return USAGE
    code = exit_code(error)
    message, advice, faults = message_of(error), advice_for(error, session), faults_of(error)
    if session.debug:
        traceback.print_exception(error)
    if session.is_json:
        facts = {"type": type(error).__name__, "message": message, "code": code}
        more = {"errors": faults, "job": session.job}
        click.echo(json.dumps({"error": facts | {name: value for name, value in more.items() if value}}))
    else:
        head = message.partition(f": {faults[0]}")[0] if faults else message
        lines = [
            f"error: {head}",
            *(f"  - {fault}" for fault in faults),
            *(f"  {line}" for line in advice.splitlines()),
        ]
        click.echo("\n".join(lines), err=True)
    return code


def message_of(error: BaseException) -> str:
    """Return what went wrong, in plain words."""
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "stopped"
    if isinstance(error, (errors.BatutaError, OSError)):
        return as_called(str(error))
    return f"{type(error).__name__}: {error}"


def faults_of(error: BaseException) -> list[str]:
    """Return the single faults that make up an error, if it names them."""
    return [str(fault) for fault in getattr(error, "facts", {}).get("errors", ())]


def advice_for(error: BaseException, session: Session) -> str:
    """Return what to do next, or an empty string."""
    if isinstance(error, click.MissingParameter) and error.param and error.param.name == "kind":
        return ADVICE[errors.UnknownKind].format(p=program_name())
    if isinstance(error, click.BadParameter) and error.param_hint == "'-p'" and session.kind:
        return ADVICE[errors.InvalidParams].format(p=program_name(), kind=session.kind)
    if isinstance(error, click.UsageError) and error.ctx:
        return f"for help: {program_name()} {' '.join(error.ctx.command_path.split()[1:])} --help".replace(
            "  ", " "
        )
    if exit_code(error) == DEFECT:
        return "this is a defect of Batuta; --debug shows where"
    if type(error) is errors.JobNotFound and session.embedded_home:
        return f"looked in {session.embedded_home}; COORDINATOR_HOME names another folder"
    if isinstance(error, errors.SettingsError) and "module" in error.facts:
        return "where: --debug"
    kin = _nearest(error, ADVICE)
    return ADVICE.get(kin, "").format(p=program_name(), job=session.job, kind=session.kind)


def _nearest(error: BaseException, table: Mapping[type[BaseException], object]) -> type[BaseException]:
    return next((cls for cls in type(error).__mro__ if cls in table), BaseException)
