"""``dev``: everything at once for whoever writes jobs: server, worker, HTTP interface, Flower.

Owns which parts run and when they are started again. Invariant: after it has ended
nothing of it is left, and no step is lost: what was running goes on with the next start.
"""

from __future__ import annotations

import importlib.util
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from coordinator import registry
from coordinator.cli import connection
from coordinator.cli.children import Child, say
from coordinator.cli.options import common
from coordinator.cli.parts import environment
from coordinator.settings import Settings

ADDRESS = "127.0.0.1"
# What runs when a file changes, or on Ctrl-C, gets so long; then it runs again with the next worker.
GRACE_S = 5.0
READY_S = 60.0
PAUSE_S = 0.1
PORT = click.IntRange(1, 65535)


@click.command("dev")
@click.option("-c", "--concurrency", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--flower-port", type=PORT, default=5555, show_default=True)
@click.option("--api-port", type=PORT, default=8000, show_default=True)
@click.option("--reload/--no-reload", default=True, help="Start anew when a file of the jobs changes.")
@common
def dev_command(concurrency: int, flower_port: int, api_port: int, reload: bool) -> int:
    """Run server, worker, HTTP interface and Flower in one terminal, for this machine alone."""
    folders = job_folders(Settings.from_env().jobs)
    for port, option in ((flower_port, "--flower-port"), (api_port, "--api-port")):
        if _answers(port):
            raise click.UsageError(f"expected a free port, but {port} is taken; choose another with {option}")
    with ExitStack() as stack:
        stack.enter_context(_interrupted_by_signals())
        try:
            if Settings.from_env().is_embedded:
                connection.start_embedded(stack, lambda text: say("dev", text))
            children = _children(concurrency, flower_port, api_port)
            stack.callback(_end, children)
            for child in children:
                child.start()
            _tell_when_ready(children, flower_port, api_port)
            _follow(children, folders if reload else [])
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a few seconds, in which all must be ended
            say("dev", "ending")
    return 0


def job_folders(modules: tuple[str, ...]) -> list[Path]:
    """Return the folders of the modules that register kinds, without importing them.

    Raises:
        UsageError: a module is not there.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    folders: set[Path] = set()
    for name in registry.found(modules):
        top = name.partition(".")[0]
        spec = importlib.util.find_spec(top)
        if spec is None:
            raise click.UsageError(
                f"COORDINATOR_JOBS: expected modules that can be imported, found no module {top!r}; "
                "start in the folder that holds it, or install it"
            )
        found = spec.submodule_search_locations or [str(Path(spec.origin or ".").parent)]
        folders.update(Path(folder).resolve() for folder in found)
    return sorted(folders)


def _children(concurrency: int, flower_port: int, api_port: int) -> list[Child]:
    env = {**environment(), "PYTHONUNBUFFERED": "1"}
    celery = [sys.executable, "-m", "celery", "-q", "-A", "coordinator.app"]
    worker = [*celery, "worker", "--hostname", "dev@%h", "--concurrency", str(concurrency)]
    worker += ["--loglevel", "info", "--without-mingle", "--without-gossip"]
    flower = [*celery, "flower", f"--address={ADDRESS}", f"--port={flower_port}"]
    api = [sys.executable, "-m", "coordinator.cli", "api", "--open"]
    api += ["--address", ADDRESS, "--port", str(api_port), "--workers", "1"]
    return [
        Child("worker", worker, env, colour="blue"),
        Child("api", api, env, colour="magenta"),
        Child("flower", flower, env, colour="green"),
    ]


def _tell_when_ready(children: list[Child], flower_port: int, api_port: int) -> None:
    """Say where everything is, once it answers; a part that does not start has said why."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and all(child.is_alive() for child in children):
        if _answers(flower_port) and _answers(api_port):
            say("dev", f"jobs in Flower: http://{ADDRESS}:{flower_port}/jobs", "bright_white")
            say("dev", f"HTTP interface: http://{ADDRESS}:{api_port}/", "bright_white")
            say("dev", "Ctrl-C ends all of it", "bright_white")
            return
        time.sleep(PAUSE_S)


def _follow(children: list[Child], folders: list[Path]) -> None:
    """Start the parts that know the jobs anew whenever a file changes, until interrupted."""
    from watchfiles import PythonFilter, watch

    if not folders:
        while True:
            time.sleep(READY_S)
    for changes in watch(*folders, watch_filter=PythonFilter(), rust_timeout=500):
        names = sorted({Path(path).name for _, path in changes})
        say("dev", f"{', '.join(names[:3])} changed: starting anew")
        for child in children:
            if child.name != "flower" or not child.is_alive():  # Flower shows jobs, and runs none
                child.ask_to_stop(GRACE_S)
        for child in children:
            if child.name != "flower" or not child.is_alive():
                child.restart(GRACE_S)


def _end(children: list[Child]) -> None:
    """End all, side by side."""
    for child in children:
        child.ask_to_stop(GRACE_S)
    for child in children:
        child.wait_stopped()


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Let a closed terminal and a polite kill end us as Ctrl-C does."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(PAUSE_S)
        return probe.connect_ex((ADDRESS, port)) == 0
