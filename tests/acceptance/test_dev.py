"""``manage.py dev``: everything in one terminal, where nothing is configured."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.program import ROOT, Program
from tests.servers.process import answers, free_port
from tests.waiting import wait_until

JOBS = """
from pydantic import BaseModel
from coordinator import job
from coordinator.app import app

class Greeting(BaseModel):
    name: str

@app.task
def greet(name: str) -> str:
    return "{word} " + name

@job("greeting", params=Greeting)
def greeting(p: Greeting):
    return greet.s(p.name)
"""


class Dev:
    """``manage.py dev`` in a folder with one module of jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.api, self.flower = free_port(), free_port()
        self.write("hello")
        env = {"COORDINATOR_JOBS": "my_jobs", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.program = Program.at(folder, env)
        self.log = folder / "dev.log"
        self.process: subprocess.Popen[str] | None = None

    def write(self, word: str) -> None:
        (self.folder / "my_jobs.py").write_text(JOBS.replace("{word}", word))

    def start(self) -> Dev:
        with self.log.open("w") as log:
            ports = ("--api-port", str(self.api), "--flower-port", str(self.flower))
            self.process = self.program.start("dev", "-c", "1", *ports, out=log.fileno())
        self.wait_lines("Ctrl-C ends all", 1)
        self.wait_lines(" ready.", 1)
        return self

    def wait_lines(self, text: str, count: int) -> None:
        wait_until(
            lambda: self.log.read_text().count(text) >= count, timeout_s=40, what=f"{count} × {text!r}"
        )

    def ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.api}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.loads(answer.read())

    def greet(self) -> str:
        wait_until(lambda: answers(self.api), what="the HTTP interface")
        job = self.ask("/jobs", {"kind": "greeting", "params": {"name": "Ann"}})["id"]
        return str(self.ask(f"/jobs/{job}/result?wait_s=20")["result"])

    def family(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)


def are_gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    dev = Dev(tmp_path)
    yield dev
    if dev.process is not None and dev.process.poll() is None:
        dev.process.send_signal(signal.SIGTERM)
        dev.process.wait(30)
    if dev.process is not None and dev.process.stderr is not None:
        dev.process.stderr.close()


def test_dev_runs_new_code_and_leaves_nothing_when_a_file_changes_and_it_ends(dev: Dev):
    """A job by HTTP, seen in Flower, run by the code as it is now; Ctrl-C ends all with code 0."""
    dev.start()
    assert dev.greet() == "hello Ann"
    with urllib.request.urlopen(f"http://127.0.0.1:{dev.flower}/jobs/list", timeout=10) as answer:
        assert [job["kind"] for job in json.loads(answer.read())["jobs"]] == ["greeting"]

    dev.write("good morning,")
    dev.wait_lines(" ready.", 2)
    assert dev.greet() == "good morning, Ann"

    family = dev.family()
    assert len(family) >= 6 and dev.process is not None
    dev.process.send_signal(signal.SIGINT)
    assert dev.process.wait(30) == 0
    wait_until(lambda: are_gone(family), what="every process gone")


def test_dev_leaves_nothing_when_it_is_killed(dev: Dev):
    """Even a kill that nobody can catch takes everything along."""
    dev.start()
    family = dev.family()

    assert dev.process is not None
    dev.process.kill()

    wait_until(lambda: are_gone(family), timeout_s=30, what="every process gone")


def test_dev_says_so_when_a_port_is_taken(dev: Dev):
    """Nothing is started, and the option that helps is named."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", dev.flower))
        taken.listen()
        done = dev.program("dev", "--flower-port", str(dev.flower))

    assert done.returncode == 2 and "--flower-port" in done.stderr
    assert not (dev.folder / "home").exists()
