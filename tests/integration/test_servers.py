"""The test servers keep the promises that the other tests build on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from celery import Celery
from kombu import Connection

from tests.conftest import Services
from tests.facade import close
from tests.servers import MissingServer, RabbitMQ, Redis, Worker
from tests.servers import rabbitmq as rabbitmq_module

ROOT = Path(__file__).resolve().parents[2]
TRIVIAL = "tests.integration.trivial_app"


@contextmanager
def client(services: Services) -> Iterator[Celery]:
    """Yield an app that sends to the trivial worker and closes what it opened."""
    app = Celery("client", broker=services.broker_url, backend=services.redis_url, set_as_current=False)
    app.conf.task_default_queue = services.env["COORDINATOR_QUEUE"]
    try:
        yield app
    finally:
        close(app)


def test_worker_runs_a_task_when_started(services: Services, start_worker: Callable[..., Worker]) -> None:
    """A worker of the fixture runs what is sent, on every kind of broker."""
    start_worker(app=TRIVIAL, concurrency=1)
    with client(services) as app:
        assert app.send_task("trivial.add", (1, 2)).get(timeout=20) == 3


def test_rabbitmq_keeps_durable_messages_when_killed(rabbitmq: RabbitMQ) -> None:
    """A killed node comes back on the same port with its data, and with none when asked for none."""
    # A message is on the disk once it is confirmed, not before.
    with Connection(rabbitmq.url(), transport_options={"confirm_publish": True}) as connection:
        connection.SimpleQueue("kept").put("still here")
    rabbitmq.restart()
    with Connection(rabbitmq.url()) as connection:
        assert connection.SimpleQueue("kept").get(timeout=5).payload == "still here"
    rabbitmq.restart(empty=True)
    assert "kept" not in rabbitmq.ctl("list_queues", "name")


def test_redis_keeps_its_keys_when_killed(redis_server: Redis) -> None:
    """A killed Redis comes back with what was written, and with nothing when asked for nothing."""
    with redis.Redis.from_url(redis_server.url(9)) as connection:
        connection.set("kept", "1")
        redis_server.restart()
        assert connection.get("kept") == b"1"
        redis_server.restart(empty=True)
        assert connection.get("kept") is None


def test_rabbitmq_says_how_to_get_it_when_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The message of a missing server is the command that installs it."""
    monkeypatch.setattr(rabbitmq_module, "SCRIPT_FOLDERS", ())
    monkeypatch.setattr(rabbitmq_module, "EXTRA_PATH", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingServer, match="apt-get install rabbitmq-server"):
        RabbitMQ(tmp_path)


@pytest.mark.parametrize(("in_ci", "outcome"), [("true", "1 error"), ("", "1 skipped")])
def test_session_tells_how_to_get_a_server_when_it_is_missing(
    tmp_path: Path, in_ci: str, outcome: str
) -> None:
    """A missing server skips its tests with the command that installs it, and fails them in CI."""
    test = f"{Path(__file__).relative_to(ROOT)}::test_redis_keeps_its_keys_when_killed"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", test],
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path), "CI": in_ci},
        capture_output=True,
        text=True,
    )
    assert "apt-get install redis-server" in done.stdout
    assert outcome in done.stdout.splitlines()[-1]
