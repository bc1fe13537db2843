"""``api`` and ``api-token``: the HTTP interface under gunicorn, and who may use it."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from coordinator.cli.options import Word, common
from coordinator.cli.output import show_json
from coordinator.cli.parts import is_loopback, run_part
from coordinator.cli.session import Session

APP = "coordinator.web:create_app()"
CONFIG = "--config=python:coordinator.web.serving"
# A step of gunicorn's own ends after what clients may wait for: see web/models.py.
TIMEOUT_S = 60
GRACE_S = 15


@click.command("api")
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True, help="Processes.")
@click.option("--threads", type=click.IntRange(min=2), default=8, show_default=True, help="In each process.")
@click.option("--open", "is_open", is_flag=True, help="Without tokens, for this machine alone.")
@common
@click.pass_obj
def api_command(session: Session, address: str, port: int, workers: int, threads: int, is_open: bool) -> int:
    """Start the HTTP interface; COORDINATOR_API_TOKENS says who may use it."""
    web = _web()
    if is_open and not is_loopback(address):
        raise click.UsageError(
            f"expected a loopback address with --open, got {address}: whoever reaches it could stop jobs; "
            "set COORDINATOR_API_TOKENS instead",
            click.get_current_context(),
        )
    if is_open:
        os.environ[web.settings.OPEN] = "1"
    # The half of the threads is kept for requests that don't wait.
    os.environ.setdefault("COORDINATOR_API_WAITING", str(threads // 2))
    web.WebSettings.from_env()  # now, with one message, rather than in each of gunicorn's workers
    host = f"[{address}]" if ":" in address else address
    argv = [sys.executable, "-m", "gunicorn", APP, CONFIG, f"--bind={host}:{port}"]
    argv += [f"--workers={workers}", f"--threads={threads}", f"--timeout={TIMEOUT_S}"]
    argv += ["--worker-class=gthread", "--no-control-socket", f"--graceful-timeout={GRACE_S}"]
    return run_part(session, argv)


@click.command("api-token")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=Word(("read", "submit", "steer")),
    multiple=True,
    default=("read",),
    show_default=True,
    help="What it may do; may be given several times.",
)
@common
@click.pass_obj
def api_token_command(session: Session, name: str, scopes: tuple[str, ...]) -> None:
    """Make a token for the HTTP interface; it is shown once and kept nowhere."""
    try:
        secret, token = _web().tokens.new_token(name, scopes)
    except ValueError as error:
        raise click.BadParameter(
            f"expected up to 64 letters, digits, . _ or -, got {name!r}", param_hint="NAME"
        ) from error
    if session.is_json:
        show_json({"token": secret, "entry": token.entry})
        return
    click.echo(f"token: {secret}\nadd to COORDINATOR_API_TOKENS: {token.entry}")


def _web() -> Any:
    try:
        from coordinator import web
        from coordinator.web import settings, tokens  # noqa: F401  names of ``web`` from here on
    except ModuleNotFoundError as error:
        raise click.UsageError(
            f"expected the package {error.name}, found none; install Batuta with its extra api",
            click.get_current_context(),
        ) from error
    return web
