"""Arguments and options that several commands share, and the reading of their values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any, TypeVar

import click

from coordinator.cli import completion
from coordinator.cli.session import Session
from coordinator.states import State, StepState

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("table", "plain", "json")
UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Word(click.Choice[str]):
    """A choice that says what was probably meant."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:  # noqa: ARG002  click's signature
        near = get_close_matches(str(value), self.choices, n=1)
        meant = f"Did you mean {near[0]!r}?" if near else f"Expected one of: {', '.join(self.choices)}."
        return f"No such choice {value!r}. {meant}"


class Duration(click.ParamType[float]):
    """Seconds, or a number with s, m, h or d after it."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, (int, float)):
            return float(value)
        match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)([smhd]?)", value.strip())
        if not match or float(match[1]) == 0:
            self.fail(f"expected a time such as 90, 90s, 10m or 2h, got {value!r}", param, ctx)
        return float(match[1]) * UNITS_S[match[2]]


def common(command: F) -> F:
    """Add ``-o``, ``-v`` and ``--debug``, which may stand before or after the command's name."""
    for option in reversed(
        [
            click.option(
                "-o",
                "--output",
                type=Word(FORMATS),
                help="Form of the output; default: table on a terminal, plain in a pipe.",
                expose_value=False,
                callback=_keep("output"),
            ),
            click.option(
                "-v",
                "--verbose",
                is_flag=True,
                help="Say more: which server is used, tracebacks of steps.",
                expose_value=False,
                callback=_keep("verbose"),
            ),
            click.option(
                "--debug",
                is_flag=True,
                help="Show tracebacks.",
                expose_value=False,
                callback=_keep("debug"),
            ),
        ]
    ):
        command = option(command)
    return command


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        if value:
            setattr(ctx.ensure_object(Session), name, value)

    return callback


job_argument = click.argument("job", metavar="JOB", shell_complete=completion.jobs)
optional_job_argument = click.argument("job", metavar="[JOB]", required=False, shell_complete=completion.jobs)
kind_argument = click.argument("kind", metavar="KIND", shell_complete=completion.kinds)
kind_option = click.option("--kind", metavar="KIND", shell_complete=completion.kinds, help="Only this kind.")
state_option = click.option(
    "--state", type=Word([s.value for s in State]), metavar="STATE", help=f"One of {', '.join(State)}."
)
step_state_option = click.option(
    "--state",
    type=Word([s.value for s in StepState]),
    metavar="STATE",
    help=f"One of {', '.join(StepState)}.",
)
timeout_option = click.option(
    "--timeout",
    type=Duration(),
    metavar="TIME",
    help="Wait at most this long (90, 10m, 2h), then exit with 124.",
)


def limit_option(default: int) -> Callable[[F], F]:
    """Return ``--limit`` with its default."""
    return click.option(
        "--limit", type=click.IntRange(min=1), default=default, show_default=True, help="At most so many."
    )


def read_params(file: IO[str] | None, pairs: tuple[str, ...], texts: frozenset[str]) -> dict[str, Any]:
    """Return the parameters from a file and from ``-p key=value`` pairs, which win.

    Args:
        file: a JSON object, or TOML where the file's name ends so.
        pairs: ``key=value``; a value is JSON where it parses, else text.
        texts: the keys that take text only, whose values are never read as JSON.

    Raises:
        click.BadParameter: naming what can't be read.
    """
    params = _read_file(file) if file else {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"expected key=value, got {pair!r}", param_hint="'-p'")
        params[key] = _value(text, as_text=key in texts)
    return params


def _read_file(file: IO[str]) -> dict[str, Any]:
    try:
        text = file.read().removeprefix("\ufeff")  # a mark that Windows likes to write
        if Path(file.name).suffix == ".toml":
            import tomllib

            return tomllib.loads(text)
        params = json.loads(text)
    except UnicodeDecodeError as error:
        raise click.BadParameter(
            f"{file.name}: expected UTF-8, got byte 0x{error.object[error.start]:02x} at {error.start}",
            param_hint="'--params'",
        ) from error
    except ValueError as error:
        raise click.BadParameter(f"{file.name}: {error}", param_hint="'--params'") from error
    if not isinstance(params, dict):
        raise click.BadParameter(
            f"{file.name}: expected a JSON object, got {type(params).__name__}", param_hint="'--params'"
        )
    return params


def _value(text: str, *, as_text: bool) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if as_text and not isinstance(value, str) else value
