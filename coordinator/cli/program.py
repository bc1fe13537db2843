"""The program: its commands by name, and the one place where errors become exit codes.

A command's module is imported only when that command is called or asked for help.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

import click

from coordinator import __version__
from coordinator.cli.exits import ReaderLeft, report
from coordinator.cli.options import common
from coordinator.cli.session import Session
from coordinator.variables import strangers

# Section → command → (module, what it does).
COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Start here": {
        "demo": ("demo", "Run process_data on the data set that is shipped; needs no server."),
        "kinds": ("kinds", "List the kinds of job, or show the parameters of one."),
        "run": ("submit", "Submit a job, watch it, print its result."),
        "submit": ("submit", "Submit a job and print its id."),
    },
    "Look": {
        "list": ("read", "List jobs, newest first."),
        "status": ("read", "Show one job: state, progress, checks, error."),
        "watch": ("watch", "Follow a job until it ends."),
        "result": ("read", "Print a job's result."),
        "graph": ("graph", "Show the plan of a job, or of a kind: text, Mermaid or SVG."),
        "steps": ("read", "List a job's steps."),
        "events": ("events", "Show what happened to a job, as it happens with --follow."),
        "why": ("why", "Say why a job is not moving, and what to do."),
        "alerts": ("read", "List alerts, newest first."),
    },
    "Steer": {
        "cancel": ("steer", "Cancel jobs: nothing more starts; `retry` takes them up again."),
        "pause": ("steer", "Hold jobs: what runs is finished, nothing more starts."),
        "resume": ("steer", "Let paused jobs go on."),
        "retry": ("steer", "Run failed or cancelled jobs again; what is recorded is kept."),
        "tune": ("steer", "Change the limits of an `each` in batches while it runs."),
    },
    "Parts": {
        "worker": ("parts", "Start a Celery worker."),
        "flower": ("parts", "Start Flower, the dashboard."),
        "api": ("api", "Start the HTTP interface."),
        "api-token": ("api", "Make a token for the HTTP interface."),
        "dev": ("dev", "Start all parts in one terminal, anew when a file changes."),
        "bench": ("bench", "Measure your own cluster with jobs of its own."),
        "chaos": ("chaos", "Kill parts of your own cluster under jobs of its own, and report."),
        "doctor": ("doctor", "Check broker, Redis, settings and workers, and say what to do."),
    },
}
EPILOG = (
    "JOB may be the first characters of an id. Without BROKER_URL a private server is used, "
    "kept in COORDINATOR_HOME (./.batuta)."
)


class Program(click.Group):
    """A group that imports its commands lazily and ends with the documented exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        for section in COMMANDS.values():
            if cmd_name in section:
                module = import_module(f"coordinator.cli.{section[cmd_name][0]}")
                return getattr(module, f"{cmd_name.replace('-', '_')}_command")  # type: ignore[no-any-return]
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise click.exceptions.NoSuchCommand(args[0], possibilities=known, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.list_commands(ctx)))
        for title, section in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), does) for name, (_, does) in section.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderLeft from error  # click would end with 1, which says that a job failed

    def main(  # type: ignore[override]  # click overloads it by standalone_mode, which is fixed here
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        args = list(sys.argv[1:] if args is None else args)
        # As `python -m` does: a celeryconfig.py and the jobs' modules are looked for here.
        if str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # names of files, and results, may hold what is no UTF-8
                stream.reconfigure(errors="backslashreplace")
        session = Session(args=tuple(args))
        try:
            code = super().main(args, prog_name, **{"obj": session, **extra, "standalone_mode": False})
        except (Exception, KeyboardInterrupt) as error:
            code = report(error, session)
        sys.exit(code if isinstance(code, int) else 0)


def _show_version(ctx: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if is_asked:
        click.echo(__version__)
        ctx.exit()


@click.command(cls=Program, epilog=EPILOG, no_args_is_help=True)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version.",
)
@common
def main() -> None:
    """Durable jobs on Celery: one id, one state, one progress bar, one cancel, one retry."""
    if click.get_current_context().invoked_subcommand != "worker":  # its own log says it
        for stranger in strangers():
            click.echo(f"warning: {stranger}", err=True)
