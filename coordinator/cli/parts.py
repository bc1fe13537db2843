"""``worker`` and ``flower``: Celery's own programs with flags that suit durable jobs.

With servers configured the program takes this process's place (exec), so that
signals and exit codes are its own; an embedded server lives as long as its program.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from coordinator.cli import connection
from coordinator.cli.options import Word, common
from coordinator.cli.session import Session
from coordinator.embedded.guard import end_with_parent
from coordinator.embedded.worker import core_count
from coordinator.errors import BrokerUnreachable
from coordinator.fleet import Fleet
from coordinator.reach import unreachable
from coordinator.settings import Settings

LOGIN_S = 3
POOLS = ("prefork", "fleet")
LEVELS = ("debug", "info", "warning", "error", "critical")
# Everything after -- goes to Celery as it is.
PASS_ON = {"ignore_unknown_options": False, "allow_interspersed_args": True}


@click.command("worker", context_settings=PASS_ON)
@click.option("-c", "--concurrency", type=click.IntRange(min=1), help="Processes; default: one per core.")
@click.option(
    "-P",
    "--pool",
    type=Word(POOLS),
    default=POOLS[0],
    show_default=True,
    help="prefork: a worker with child processes; fleet: single-slot workers side by side, faster.",
)
@click.option("-Q", "--queues", metavar="NAME,…", help="Queues to read; default: COORDINATOR_QUEUE.")
@click.option("-n", "--name", help="Name of the node; default: a new one.")
@click.option("-l", "--loglevel", type=Word(LEVELS), default="info", show_default=True)
@click.argument("more", metavar="[-- CELERY_OPTIONS]", nargs=-1, type=click.UNPROCESSED)
@common
@click.pass_obj
def worker_command(
    session: Session,
    concurrency: int | None,
    pool: str,
    queues: str | None,
    name: str | None,
    loglevel: str,
    more: tuple[str, ...],
) -> int:
    """Start a Celery worker; what stands after -- is passed on to Celery."""
    # A name of its own: RabbitMQ keeps a dead node's control queue locked for a while (405 RESOURCE_LOCKED).
    if refusal := login_refusal(Settings.from_env().broker_url):
        raise BrokerUnreachable(f"RabbitMQ refuses the login: {refusal}; check user and vhost in BROKER_URL")
    node = name or f"worker-{secrets.token_hex(3)}"
    options = ["--loglevel", loglevel]
    options += ["--without-mingle", "--without-gossip"]  # Durable steps need neither; both slow the start.
    options += ["--queues", queues] if queues else []
    if pool == "fleet":
        return run_fleet(session, node, concurrency or core_count(), [*options, *more])
    options += ["--hostname", _at_host(node)]
    options += ["--concurrency", str(concurrency)] if concurrency else []
    return run_celery(session, ["worker", *options, *more])


@click.command("flower", context_settings=PASS_ON)
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(1, 65535), default=5555, show_default=True)
@click.argument("more", metavar="[-- FLOWER_OPTIONS]", nargs=-1, type=click.UNPROCESSED)
@common
@click.pass_obj
def flower_command(session: Session, address: str, port: int, more: tuple[str, ...]) -> int:
    """Start Flower, the dashboard; FLOWER_BASIC_AUTH=user:password asks for a password."""
    if any(word.lstrip("-").partition("=")[0] == "address" for word in more):  # Flower takes the last one
        raise click.UsageError(
            "expected --address before --, got it behind, where it is not checked",
            click.get_current_context(),
        )
    if not is_loopback(address) and not has_auth(more):
        raise click.UsageError(
            f"expected FLOWER_BASIC_AUTH=user:password in the environment to listen on {address}, "
            "found none: whoever reaches Flower can stop jobs",
            click.get_current_context(),
        )
    # Flower reads FLOWER_BASIC_AUTH itself; on the command line every user of the machine could see it.
    return run_celery(session, ["flower", f"--address={address}", f"--port={port}", *more])


def run_fleet(session: Session, node: str, count: int, options: Sequence[str]) -> int:
    """Run single-slot workers side by side until told to end, and return the exit code."""
    os.environ.update(environment())

    def command(slot: int) -> list[str]:
        name, at, host = node.partition("@")
        hostname = _at_host(f"{name}-{slot}{at}{host}")
        celery = [sys.executable, "-m", "celery", "-A", "coordinator.app", "worker"]
        return [*celery, "--pool", "solo", "--concurrency", "1", "--hostname", hostname, *options]

    with ExitStack() as stack:
        if Settings.from_env().is_embedded:
            connection.start_embedded(stack, session.say)
        session.say(" ".join(command(1)))
        return Fleet(command, count).run()


def login_refusal(url: str) -> str:
    """Return why RabbitMQ lets nobody in who knocks with this URL, or an empty text.

    Celery takes a refused login for a broker on its way up, and tries for ever, with a traceback each time.
    """
    if not url.startswith(("amqp", "pyamqp")) or unreachable(url):
        return ""  # one that is not there yet is what a worker waits for
    from amqp import AccessRefused, NotAllowed
    from kombu import Connection

    try:
        with Connection(url, connect_timeout=LOGIN_S) as broker:
            broker.connect()
    except (AccessRefused, NotAllowed) as error:
        return str(error.reply_text)
    except Exception:  # whatever else it is, the worker tries again and tells it
        logging.getLogger(__name__).debug("login.not-tried", exc_info=True)
    return ""


def _at_host(node: str) -> str:
    return node if "@" in node else f"{node}@%h"


def run_celery(session: Session, command: list[str]) -> int:
    """Run a Celery command of ``coordinator.app`` as ``run_part`` does."""
    return run_part(session, [sys.executable, "-m", "celery", "-A", "coordinator.app", *command])


def run_part(session: Session, argv: list[str]) -> int:
    """Become the program ``argv``, or run it beside the embedded server and return its exit code."""
    with ExitStack() as stack:
        if not Settings.from_env().is_embedded:
            session.say(" ".join(argv))
            sys.stdout.flush()
            os.execve(sys.executable, argv, environment())  # noqa: S606  no shell is the point
        connection.start_embedded(stack, session.say)
        session.say(" ".join(argv))
        return _run_child(argv)


def environment() -> dict[str, str]:
    """Return the environment for a child, which must find this package from any folder."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach ``address``."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def has_auth(more: tuple[str, ...]) -> bool:
    """Whether Flower will ask who is there."""
    words = (word.lstrip("-").replace("-", "_").partition("=") for word in more)
    given = any(name in ("basic_auth", "auth") and value for name, _, value in words)
    return given or bool(os.environ.get("FLOWER_BASIC_AUTH", "").strip())


def _run_child(argv: list[str]) -> int:
    """Run a program beside an embedded server and return its exit code; a signal to end is passed on."""
    child = subprocess.Popen(argv, env=environment(), preexec_fn=end_with_parent)
    previous = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue  # The terminal told the child too: wait for its orderly end.
    finally:
        signal.signal(signal.SIGTERM, previous)
