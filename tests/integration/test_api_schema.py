"""The interface keeps to its own schema, whatever it is sent: schemathesis, on the real servers."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from coordinator import Coordinator
from coordinator.web import WebSettings, create_app, streams
from coordinator.web.tokens import SCOPES, Token, new_token
from tests.flows import add

CONFIG = Path(__file__).with_name("schemathesis.toml")
#: Give it more to look deeper: examples of each endpoint, and chains of requests.
EXAMPLES = os.environ.get("TEST_SCHEMA_EXAMPLES", "10")


@pytest.fixture
def secret() -> str:
    return new_token("schemathesis", ("read", "submit", "steer"))[0]


@pytest.fixture
def url(coordinator: Coordinator, secret: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The interface, served by a thread of this process; its streams end soon, for nobody works here."""
    monkeypatch.setattr(streams, "LONGEST_S", 0.2)
    monkeypatch.setattr(streams, "BEAT_S", 0.2)
    token = Token("schemathesis", frozenset(SCOPES), hashlib.sha256(secret.encode()).hexdigest())
    app = create_app(coordinator, WebSettings(tokens=(token,), queues=("offered",), rate_per_minute=0))
    # A thread's connection to the broker would outlive its one request.
    app.teardown_request(lambda _: coordinator.app.parts.dispatcher.close())
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.brokers("rabbitmq")
@pytest.mark.parametrize("phases", ["coverage,fuzzing", "stateful"])
def test_api_answers_as_documented_when_anything_is_sent(
    coordinator: Coordinator, secret: str, url: str, phases: str, tmp_path: Path, capsys: Any
) -> None:
    """No 5xx, no undocumented status, type, header or body; auth and methods are what the schema says."""
    coordinator.launch(add.s(1, 1), key="present/job")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
    command += [f"{url}/openapi.json", "--header", f"Authorization: Bearer {secret}"]
    command += ["--phases", phases, "--max-examples", EXAMPLES, "--no-color"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    summary = done.stdout.rpartition("= SUMMARY =")[2]
    with capsys.disabled():  # what was tried, in CI's log too
        print(f"schemathesis, {phases}: {summary}")  # noqa: T201
    assert not re.search(r"Stateful: .*(skipped|0 covered)", summary)
