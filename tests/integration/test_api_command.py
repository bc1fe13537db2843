"""``manage.py api``: the interface under gunicorn, as one starts it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from coordinator.web.tokens import new_token
from tests.conftest import Services
from tests.flows import add
from tests.servers.process import Process, free_port, wait_ready
from tests.waiting import wait_until

pytestmark = pytest.mark.brokers("rabbitmq")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def start_api(services: Services, tmp_path: Path) -> Iterator[Callable[..., tuple[Process, str, str]]]:
    """Start the command; returns its process, its address and a token that may do all."""
    started: list[Process] = []

    def start(*options: str, env: dict[str, str] | None = None) -> tuple[Process, str, str]:
        secret, token = new_token("tester", ("read", "submit", "steer"))
        port = free_port()
        command = [sys.executable, str(ROOT / "manage.py"), "api", "--port", str(port), *options]
        known = {"COORDINATOR_API_TOKENS": token.entry, **(env or {})}
        process = Process(command, log=tmp_path / "api.log", env={**os.environ, **services.env, **known})
        started.append(process)
        process.launch()
        url = f"http://127.0.0.1:{port}"
        wait_ready(process, lambda: _answers(url), what="the API", timeout_s=30)
        return process, url, secret

    yield start
    for process in started:
        process.kill()


def test_api_command_serves_and_ends_cleanly_when_told_to(start_api, start_worker):
    """A job by HTTP from submit to result, its events as they come, and an orderly end on SIGTERM."""
    process, url, secret = start_api("--workers", "1", env={"COORDINATOR_LOG": "json"})
    start_worker()
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {secret}"
        request = {"kind": "sum_to", "params": {"n": 4}, "id": "by/http"}
        made = session.post(f"{url}/jobs", json=request, timeout=20)
        assert made.status_code == 202
        accept = {"Accept": "text/event-stream"}
        with session.get(f"{url}/jobs/by/http/events", headers=accept, stream=True, timeout=20) as stream:
            lines = [line for line in stream.iter_lines(decode_unicode=True) if line.startswith("event:")]
        assert (lines[0], lines[-2:]) == ("event: submitted", ["event: succeeded", "event: end"])
        assert session.get(f"{url}/jobs/by%2Fhttp/result", timeout=20).json()["result"] == 12
        assert requests.get(f"{url}/jobs", timeout=20).status_code == 401
    assert secret not in process.log.read_text()
    logged = process.log.read_text().splitlines()
    assert logged and all("event" in json.loads(line) for line in logged)

    assert process.stop(15) == 0


def test_api_command_ends_soon_when_somebody_reads_a_stream(start_api, coordinator):
    """An open stream ends with its process; whoever reads it connects again, elsewhere."""
    process, url, secret = start_api("--workers", "1")
    job = coordinator.launch(add.s(1, 1))
    headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {secret}"}
    with requests.get(f"{url}/jobs/{job}/events", headers=headers, stream=True, timeout=20) as stream:
        lines = stream.iter_lines(decode_unicode=True)
        assert next(lines) == "retry: 1000"

        assert process.stop(10) == 0
        assert "event: end" not in list(lines)


def test_api_command_refuses_to_start_when_nobody_could_use_it(services, tmp_path):
    """Without tokens it ends with the exit code of a usage error, and says what to do."""
    command = [sys.executable, str(ROOT / "manage.py"), "api"]
    process = Process(command, log=tmp_path / "api.log", env={**os.environ, **services.env})
    process.launch()

    assert process.popen is not None
    wait_until(lambda: process.popen.poll() is not None, what="its end")
    assert process.popen.returncode == 2
    assert "manage.py api-token" in process.log.read_text()


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=2).status_code == 200
    except requests.ConnectionError:
        return False
