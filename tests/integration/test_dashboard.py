"""Flower as people start it, with the Jobs tab: its JSON, and who may do what."""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest

from tests.flows import add
from tests.servers.process import Process, wait_ready
from tests.servers.worker import ROOT


@dataclass
class Flower:
    """A running Flower, and a browser's habits: cookies, and the token that they hold."""

    url: str
    process: Process

    def __post_init__(self) -> None:
        self.cookies = CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def get(self, path: str, **headers: str) -> str:
        request = urllib.request.Request(self.url + path, headers=dashed(headers))  # noqa: S310
        with self.opener.open(request, timeout=10) as answer:
            return answer.read().decode()

    def json(self, path: str, **headers: str) -> Any:
        return json.loads(self.get(path, **headers))

    def post(self, path: str, **headers: str) -> Any:
        request = urllib.request.Request(self.url + path, data=b"", headers=dashed(headers))  # noqa: S310
        with self.opener.open(request, timeout=10) as answer:
            return json.loads(answer.read())

    def token(self) -> str:
        self.get("/jobs")
        return next(cookie.value for cookie in self.cookies if cookie.name == "_xsrf")


def dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def refused(call: Callable[[], Any]) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        call()
    with caught.value as error:
        return error.code, error.read().decode()


@pytest.fixture
def start_flower(services, tmp_path: Path) -> Iterator[Callable[..., Flower]]:
    """Start ``celery -A coordinator.app flower`` with options, on a free port of this machine."""
    running: list[Process] = []

    def start(*options: str, env: dict[str, str] | None = None, path: str = "") -> Flower:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "celery", "-A", "coordinator.app", "flower", f"--port={port}"]
        process = Process(
            [*command, "--address=127.0.0.1", *options],
            log=tmp_path / f"flower-{port}.log",
            env={**os.environ, "PYTHONPATH": str(ROOT), **services.env, **(env or {})},
        )
        running.append(process)
        process.launch()

        def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_ready(process, answers, what="Flower", timeout_s=30)
        return Flower(f"http://127.0.0.1:{port}{path}", process)

    yield start
    for process in running:
        process.kill()


def test_jobs_are_listed_by_state_kind_and_prefix_when_asked(coordinator, start_flower):
    """A plain Flower on our app has the tab, on Flower's own pages too, and the list behind it."""
    jobs = [coordinator.launch(add.s(1, 2), key=f"2026/{number}") for number in range(3)]
    coordinator.cancel(jobs[0], "not needed")
    rejected = coordinator.submit("sum_to", {"n": "many"}).id
    flower = start_flower()

    page = flower.json("/jobs/list?limit=2")
    assert [job["id"] for job in page["jobs"]] == [rejected, jobs[2]]
    rest = flower.json(f"/jobs/list?limit=2&cursor={page['next']}")
    assert ([job["id"] for job in rest["jobs"]], rest["next"]) == ([jobs[1], jobs[0]], "")
    assert rest["jobs"][1]["note"] == "not needed"
    assert page["counts"] == {"jobs": 4, "active": 2}
    assert [job["id"] for job in flower.json("/jobs/list?state=cancelled&kind=canvas")["jobs"]] == jobs[:1]
    assert [job["id"] for job in flower.json("/jobs/list?prefix=2026/1")["jobs"]] == ["2026/1"]
    assert 'href="/jobs"' in flower.get("/workers")
    assert refused(lambda: flower.json("/jobs/list?state=lost"))[0] == 400
