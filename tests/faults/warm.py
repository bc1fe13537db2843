"""A process that has imported everything and forks workers and submitters: a start takes 0.3 s, not 2 s.

``python -m tests.faults.warm`` reads orders, JSON objects a line, and answers each with one. What it
forks is a session of its own, as if it had been started by a shell; nothing that talks to a server
is opened before the fork. ``Warm`` is the other end.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from tests.servers.process import ROOT, end_with_parent

START_TIMEOUT_S = 60
#: Imported by a worker as it starts: imported here, once.
NEEDED = (
    "celery.apps.worker", "celery.bin.worker", "celery.concurrency.prefork", "celery.worker.consumer",
    "kombu.transport.pyamqp", "kombu.transport.redis", "coordinator.backend", "coordinator.redis_transport",
)  # fmt: skip


class Warm:
    """The other end: orders workers and submitters."""

    def __init__(self, env: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.warm"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                env={**os.environ, **env, "PYTHONPATH": str(ROOT)}, cwd=ROOT,
            )  # fmt: skip

    def start_worker(self) -> int:
        """Start a worker and wait until it consumes; returns its process id."""
        return int(self._order(do="work", log=str(self.log))["pid"])

    def is_alive(self, worker: int) -> bool:
        return bool(self._order(do="look", pid=worker)["alive"])

    def kill(self, worker: int) -> None:
        """SIGKILL a worker with all its children, and wait until it is gone."""
        self._order(do="kill", pid=worker)

    def submit(self, shape: str, path: str, key: str) -> int:
        """Let a new process submit a shape; returns how it ended: 0, or -9 where it was killed."""
        return int(self._order(do="submit", shape=shape, path=path, key=key)["code"])

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _order(self, **order: Any) -> dict[str, Any]:
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"no answer to {order}; see {self.log}")
        return json.loads(line)


# ---------------------------------------------------------------- the process itself
def work(order: dict[str, Any]) -> dict[str, Any]:
    """Fork a worker; answer when it consumes."""
    from celery.signals import worker_ready

    reads, writes = os.pipe()

    def run() -> None:
        from coordinator.app import app

        worker_ready.connect(lambda **_: os.write(writes, b"r"), weak=False)
        name = f"warm-{os.getppid()}@localhost"  # the same at every start, as on a host
        app.worker_main(
            ["worker", "-P", "prefork", "-c", "2", "-n", name, "--loglevel", "INFO",
             "--without-mingle", "--without-gossip"]
        )  # fmt: skip

    pid = _fork(run, Path(order["log"]))
    os.close(writes)
    with os.fdopen(reads, "rb") as ready:
        is_ready = select.select([ready], [], [], START_TIMEOUT_S)[0] and ready.read(1)
    if not is_ready:
        raise RuntimeError(f"the worker was not ready within {START_TIMEOUT_S} s; see {order['log']}")
    return {"pid": pid}


def submit(order: dict[str, Any]) -> dict[str, Any]:
    """Fork a process that submits one canvas and ends."""

    def run() -> None:
        from coordinator import Coordinator
        from tests.faults import crash_points
        from tests.faults.shapes import named

        crash_points.COUNTER.process = "submitter"
        named(order["shape"]).submit(Coordinator.from_settings(), order["path"], order["key"])

    return {"code": os.waitstatus_to_exitcode(os.waitpid(_fork(run), 0)[1])}


def look(order: dict[str, Any]) -> dict[str, Any]:
    """Say whether a worker lives."""
    try:
        return {"alive": os.waitpid(order["pid"], os.WNOHANG) == (0, 0)}
    except ChildProcessError:
        return {"alive": False}


def kill(order: dict[str, Any]) -> dict[str, Any]:
    """Kill a worker and what it left in its process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(order["pid"], signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(order["pid"], 0)
    return {}


ORDERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "work": work, "submit": submit, "look": look, "kill": kill,
}  # fmt: skip


def main() -> None:
    """Import, then obey until the standard input ends; what was forked ends with this process."""
    import importlib

    from coordinator.app import app

    for name in NEEDED:
        importlib.import_module(name)
    app.loader.import_default_modules()
    app.finalize()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        order = json.loads(line)
        answers.write(json.dumps(ORDERS[order.pop("do")](order)) + "\n")


def _fork(run: Callable[[], None], log: Path | None = None) -> int:
    pid = os.fork()
    return pid or _become(run, log)


def _become(run: Callable[[], None], log: Path | None) -> NoReturn:
    """Run in the forked process, which never returns to its parent's loop."""
    code = 1
    try:
        from coordinator import attempt

        os.setsid()
        end_with_parent()
        attempt.INSTANCE = os.urandom(4).hex()  # one life of a worker, as an import would make it
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if log is not None:
            descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
        run()
        code = 0
    except SystemExit as ends:
        code = ends.code if isinstance(ends.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
