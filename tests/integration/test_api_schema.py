"""The interface keeps to its own schema, whatever it is sent: schemathesis, on the real servers."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from werkzeug.serving import make_server

from coordinator import Coordinator
from coordinator.web import WebSettings, create_app, streams
from coordinator.web.tokens import SCOPES, Token, new_token
from tests.flows import add

#: Bounded, and the same each time: what CI found can be found again.
SEED = 1
#: Give it more to look deeper: examples of each endpoint, and seconds.
EXAMPLES = int(os.environ.get("TEST_SCHEMA_EXAMPLES", "10"))
MOST_S = float(os.environ.get("TEST_SCHEMA_S", "12"))


@pytest.fixture
def config() -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "max-time": MOST_S,
            # Chains of requests are left out: they fold ids into paths that no job has (see CONTRIBUTING.md).
            "phases": {"stateful": {"enabled": False}},
            "generation": {"max-examples": EXAMPLES, "database": "none"},
            "parameters": {
                "body.kind": "sum_to",
                "body.params": {"n": 3},
                "body.queue": None,
                "query.wait_s": 0.1,
            },
            # A request that fits the schema can still name a kind, or hold parameters, that don't exist.
            "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "404", "409", "422"]}},
        }
    )


@pytest.fixture
def secret() -> str:
    return new_token("schemathesis", ("read", "submit", "steer"))[0]


@pytest.fixture
def url(coordinator: Coordinator, secret: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The interface, served by a thread of this process; its streams end soon, for nobody works here."""
    monkeypatch.setattr(streams, "LONGEST_S", 0.2)
    monkeypatch.setattr(streams, "BEAT_S", 0.2)
    token = Token("schemathesis", frozenset(SCOPES), hashlib.sha256(secret.encode()).hexdigest())
    app = create_app(coordinator, WebSettings(tokens=(token,), rate_per_minute=0))
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.brokers("rabbitmq")
# schemathesis does things that Python warns of; the interface is tried with warnings as errors elsewhere.
@pytest.mark.filterwarnings("default")
def test_api_answers_as_documented_when_anything_is_sent(
    coordinator: Coordinator, config: SchemathesisConfig, secret: str, url: str, record_property: Any
) -> None:
    """No 5xx, no undocumented status, type, header or body; auth and methods are what the schema says."""
    coordinator.launch(add.s(1, 1), key="present/job")
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
    schema.config.headers = {"Authorization": f"Bearer {secret}"}

    failures, answers = run(schema)
    del schema
    gc.collect()  # its sessions' sockets, here where that is only a warning

    assert not failures, "\n\n".join(failures[:20])
    tried = {label.rpartition(" ")[0] for label in answers}
    assert {"POST /jobs", "GET /jobs/{job}/result", "GET /alerts"} <= tried
    record_property("answers", dict(answers))


def run(schema: Any) -> tuple[list[str], Counter[str]]:
    """Return what was found, and how many answers of each status there were."""
    failures: list[str] = []
    answers: Counter[str] = Counter()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            failures.append(str(getattr(event, "value", None) or event.exception))
        elif isinstance(event, events.ScenarioFinished):
            recorder = event.recorder
            for interaction in recorder.interactions.values():
                status = getattr(interaction.response, "status_code", "none")
                answers[f"{recorder.label} {status}"] += 1
            for case, checks in recorder.checks.items():
                failures += [
                    f"{recorder.label}: {check.name}: {check.failure_info.failure.title}\n"
                    f"{check.failure_info.failure.message}\n{recorder.cases[case].value.as_curl_command()}"
                    for check in checks
                    if check.failure_info is not None
                ]
    return failures, answers
