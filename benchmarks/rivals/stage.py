"""Brings one side up on the shared servers, and gives its driver: one side at a time has the machine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from benchmarks.rivals.postgres import Postgres
from benchmarks.rivals.sides import Side
from benchmarks.servers import Servers
from tests.servers.process import ROOT, Process, free_port, wait_ready

ADAPTERS = Path(__file__).parent / "adapters"
START_S = 60


class DriverFailed(Exception):
    """A side did not do the work; the message is the end of its log."""


class Driver:
    """A side's submitter: asks ``driver.py`` to do work and returns the seconds it took."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process, self._log = process, log
        self._read()

    def ask(self, do: str, *arguments: int, times: int = 1) -> list[float]:
        assert self._process.stdin is not None
        print(json.dumps({"do": do, "with": arguments, "times": times}), file=self._process.stdin, flush=True)
        return self._read()

    def _read(self) -> list[float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise DriverFailed(self._log.read_text(errors="replace")[-2000:])
        return list(json.loads(line)["s"])


class Stage:
    """The servers, and for each side what it prepared once."""

    def __init__(self, servers: Servers, postgres: Postgres | None) -> None:
        self._servers, self._postgres = servers, postgres
        self._prepared: dict[str, dict[str, str]] = {}
        self._logs = 0

    @contextmanager
    def playing(self, side: Side, python: str) -> Iterator[Driver]:
        """Run a side's services, workers and driver, on an empty Redis, and end them."""
        env = self._prepared.get(side.name) or self._prepare(side, python)
        redis.Redis.from_url(self._servers.redis.url()).flushall()
        with ExitStack() as stack:
            services = [self._start(stack, [python, *arguments], env) for arguments in side.services]
            _wait_for(services, side.service_ready, 1)
            workers = [self._start(stack, [python, *arguments], env) for arguments in side.workers]
            _wait_for(workers, side.ready, side.ready_times)
            yield self._drive(stack, [python, "driver.py", side.adapter], env)

    def _prepare(self, side: Side, python: str) -> dict[str, str]:
        home = self._servers.home / side.adapter
        home.mkdir()
        env = {
            **os.environ,
            **self._servers.env(),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ADAPTERS)]),
            "PYTHONUNBUFFERED": "1",
            "BENCH_HOME": str(home),
            "BENCH_PORT": str(free_port()),
        }
        if side.needs_postgres:
            assert self._postgres is not None
            self._postgres.create(side.adapter)
            env["POSTGRES_URL"] = self._postgres.url(side.adapter)
        env |= {name: value.format(**env) for name, value in side.env}
        for arguments in side.prepare:
            subprocess.run(_placed([python, *arguments], env), env=env, check=True, capture_output=True)
        self._prepared[side.name] = env
        return env

    def _log(self) -> Path:
        self._logs += 1
        return self._servers.home / f"side-{self._logs}.log"

    def _start(self, stack: ExitStack, command: list[str], env: dict[str, str]) -> Process:
        process = Process(_placed(command, env), log=self._log(), env=env)
        process.launch()
        stack.callback(process.stop)
        return process

    def _drive(self, stack: ExitStack, command: list[str], env: dict[str, str]) -> Driver:
        log = stack.enter_context(self._log().open("wb"))
        process = subprocess.Popen(
            _placed(command, env),
            env=env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        return Driver(process, Path(log.name))


def _wait_for(processes: list[Process], text: str, times: int) -> None:
    """Wait until each has written ``text`` so often."""
    for process in processes:
        wait_ready(
            process,
            lambda log=process.log: log.read_text(errors="replace").count(text) >= times,
            what=" ".join(process.command[1:4]),
            timeout_s=START_S,
        )


def _placed(command: list[str], env: dict[str, str]) -> list[str]:
    """Fill in the port, and name files of the adapters by their whole path."""
    return [str(ADAPTERS / part) if part.endswith(".py") else part.format(**env) for part in command]
