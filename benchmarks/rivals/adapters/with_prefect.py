"""Prefect: a flow of tasks whose results are persisted; a fan-out is mapped over two processes.

The flow runs in the process that calls it, its runs are kept by a Prefect server. Run as a
program it is a task worker, which runs what ``delay`` submits.
"""

from __future__ import annotations

import os
import time
from typing import Any

import httpx
from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner
from prefect.task_worker import serve


@task(persist_result=True)
def noop(n: int) -> int:
    return n


@task(persist_result=True)
def hop(n: int) -> int:
    return n + 1


@task(persist_result=True)
def count(values: list[Any]) -> int:
    return len(values)


@flow(persist_result=True)
def hops(length: int) -> int:
    value = 0
    for _ in range(length):
        value = hop(value)
    return value


@flow(persist_result=True, task_runner=ProcessPoolTaskRunner(max_workers=2))
def fan(size: int) -> int:
    return count(noop.map(range(size)))


def wait_for_server() -> None:
    """The server says how to reach it before it can be reached."""
    while True:
        try:
            httpx.get(f"{os.environ['PREFECT_API_URL']}/health", timeout=2).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.1)


class Side:
    def chain(self, length: int) -> None:
        assert hops(length) == length

    def fan(self, size: int) -> None:
        assert fan(size) == size

    def submit(self) -> None:
        noop.delay(1)


if __name__ == "__main__":
    wait_for_server()
    print("ready.", flush=True)
    serve(noop, limit=1)
