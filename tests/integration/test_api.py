"""The HTTP interface, in this process, on the real servers."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from celery import Celery
from flask import Flask
from flask.testing import FlaskClient

from coordinator.web import WebSettings, make_blueprint, service
from coordinator.web.operations import Api
from tests.flows import add, fail, wait_for_file


@pytest.fixture
def client(web: Callable[..., FlaskClient]) -> FlaskClient:
    return web()


def test_api_runs_a_job_when_it_is_submitted(client, start_worker):
    """Submit, wait for the result, and look at all there is to see of a job."""
    start_worker()

    answer = client.post("/jobs", json={"kind": "sum_to", "params": {"n": 10}})

    assert (answer.status_code, answer.json["status"]) == (202, "accepted")
    home = answer.headers["Location"]
    assert client.get(f"{home}/result?wait_s=20").json == {"id": answer.json["id"], "result": 90}
    job = client.get(home).json
    assert (job["state"], job["params"]["n"], job["steps_done"]) == ("succeeded", 10, job["steps_total"])
    assert client.get(f"{home}/flags").json["verdict"] == "valid"
    steps = client.get(f"{home}/steps?limit=2").json
    assert len(steps["steps"]) == 2 and steps["next"] == 2
    events = client.get(f"{home}/events").json["events"]
    assert [event["event"] for event in events] == ["submitted", "processing", "succeeded"]
    assert [job["id"] for job in client.get("/jobs?state=succeeded").json["jobs"]] == [answer.json["id"]]


def test_api_makes_one_job_when_the_same_key_comes_twice(client):
    """The header is the idempotency key, and a key with slashes is the job's id."""
    request = {
        "json": {"kind": "sum_to", "params": {"n": 1}},
        "headers": {"Idempotency-Key": "2026-11-24/orders"},
    }

    first, second = client.post("/jobs", **request), client.post("/jobs", **request)

    assert (first.status_code, second.status_code) == (202, 200)
    assert (first.json["id"], second.json) == (
        "2026-11-24/orders",
        {"id": "2026-11-24/orders", "status": "duplicate"},
    )
    for path in ("2026-11-24/orders", "2026-11-24%2Forders"):
        assert client.get(f"/jobs/{path}").json["id"] == "2026-11-24/orders"
        assert client.get(f"/jobs/{path}/steps").json["steps"]
    assert client.post("/jobs/2026-11-24/orders/cancel", json={"reason": "late"}).json["reason"] == "late"
    unknown = client.post("/jobs/2026-11-24/orders/retry", json={"from_step": "nonsense"})
    assert (unknown.status_code, unknown.json["type"]) == (422, "urn:batuta:problem:invalid-request")


def test_api_refuses_a_key_when_a_path_cannot_hold_it(client):
    """An id that ends with a word of the API's own paths could not be looked at."""
    for key in ("a/steps", "a//b", "../a", "/a"):
        answer = client.post("/jobs", json={"kind": "sum_to", "params": {"n": 1}, "id": key})
        assert (answer.status_code, answer.json["type"]) == (422, "urn:batuta:problem:unusable-key")


def test_api_gives_the_same_refusal_when_a_rejected_request_comes_again(client):
    """A rejected request is a problem that lists each fault, the second time as the first."""
    request = {"json": {"kind": "sum_to", "id": "bad", "params": {"n": "many"}}}

    first, second = client.post("/jobs", **request), client.post("/jobs", **request)

    assert first.status_code == second.status_code == 422
    assert first.json == second.json
    assert first.json["job"] == "bad" and "how many numbers" in first.json["errors"][0]
    assert [alert["alert"] for alert in client.get("/alerts").json["alerts"]] == ["rejected"]


def test_api_steers_a_job_when_asked(client, coordinator, start_worker, tmp_path):
    """Pause, resume and cancel; what the present state forbids is a conflict that names it."""
    start_worker()
    gate = tmp_path / "gate"
    coordinator.launch(wait_for_file.s(str(gate)), key="held")

    assert client.post("/jobs/held/pause").json["state"] == "paused"
    refused = client.post("/jobs/held/pause")
    assert (refused.status_code, refused.json["state"]) == (409, "paused")
    assert client.post("/jobs/held/resume").json["state"] == "processing"
    assert client.post("/jobs/held/cancel").json["state"] == "cancelled"
    gate.write_text("x")
    assert client.post("/jobs/held/retry").status_code == 200
    assert client.get("/jobs/held/result?wait_s=20").json["result"] == "x"


def test_api_refuses_a_job_and_keeps_nothing_when_the_broker_is_away(web, elsewhere, coordinator):
    """What could not be sent is not recorded; what is recorded can still be looked at and steered."""
    client = web(elsewhere(broker_url="amqp://user:hush@127.0.0.1:1//"))
    coordinator.launch(add.s(1, 1), key="before")

    answer = client.post("/jobs", json={"kind": "sum_to", "params": {"n": 3}, "id": "now"})

    assert (answer.status_code, answer.json["type"]) == (503, "urn:batuta:problem:unreachable")
    assert "hush" not in answer.text
    assert client.get("/jobs/now").status_code == 404
    assert client.get("/readyz").json == {"status": "ready", "redis": "ok", "broker": "unreachable"}
    assert client.post("/jobs/before/cancel").json["state"] == "cancelled"


def test_api_says_that_redis_is_away_when_it_is(web, elsewhere):
    """A problem with the time after which to try again, and no address in it; health needs no Redis."""
    client = web(elsewhere(redis_url="redis://:hush@127.0.0.1:1/0"))

    answer = client.get("/jobs")
    ready = client.get("/readyz")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert "hush" not in answer.text
    assert client.get("/healthz").status_code == 200
    assert (ready.status_code, ready.json["redis"]) == (503, "unreachable")


def test_api_says_why_there_is_no_result_when_a_job_failed(client, coordinator, start_worker):
    """No result is a conflict whose type says what became of the job."""
    job = coordinator.launch(fail.s("boom"))
    assert client.get(f"/jobs/{job}/result").json["type"] == "urn:batuta:problem:job-not-ended"
    start_worker()

    answer = client.get(f"/jobs/{job}/result?wait_s=20")

    assert (answer.status_code, answer.json["type"]) == (409, "urn:batuta:problem:job-failed")
    assert "boom" in answer.json["detail"]


def test_api_turns_pages_when_there_are_many_jobs(client, coordinator):
    """A cursor leads through all jobs, each once, newest first, whatever is submitted meanwhile."""
    jobs = [coordinator.launch(add.s(1, 1), key=f"job-{n:02}") for n in range(11)]
    page = client.get("/jobs?limit=4").json
    seen = [job["id"] for job in page["jobs"]]
    coordinator.launch(add.s(1, 1), key="late")
    while page["next"]:
        page = client.get(f"/jobs?limit=4&cursor={page['next']}").json
        seen += [job["id"] for job in page["jobs"]]

    assert sorted(seen) == jobs
    assert client.get("/jobs?cursor=nonsense").status_code == 422


def test_api_streams_events_when_asked_for_them(client, coordinator, start_worker, tmp_path):
    """Each event comes once, with an id to go on from, and the stream ends with the job."""
    start_worker()
    gate = tmp_path / "gate"
    job = coordinator.launch(wait_for_file.s(str(gate)))
    answer = client.get(f"/jobs/{job}/events", headers={"Accept": "text/event-stream"}, buffered=False)
    assert answer.content_type.startswith("text/event-stream")
    parts = (part.decode() for part in answer.response)
    assert next(parts).startswith("retry:")
    first = next(parts)
    assert "event: submitted" in first

    gate.write_text("x")
    rest = "".join(parts)

    assert rest.count("event: succeeded") == 1 and rest.endswith(
        'event: end\ndata: {"state": "succeeded"}\n\n'
    )
    answer.close()
    again = client.get(
        f"/jobs/{job}/events",
        headers={"Accept": "text/event-stream", "Last-Event-ID": _ids(first)[0]},
    )
    assert _ids(again.text) == _ids(rest)


def test_api_keeps_threads_free_when_many_wait(web, coordinator):
    """Beyond its slots a process refuses to wait, and serves everything else; a slot is given back."""
    job = coordinator.launch(add.s(1, 1))
    client = web(most_waiting=1)
    accept = {"Accept": "text/event-stream"}
    stream = client.get(f"/jobs/{job}/events", headers=accept, buffered=False)

    refused = client.get(f"/jobs/{job}/events", headers=accept)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert client.get(f"/jobs/{job}/result?wait_s=1").status_code == 429
    assert client.get(f"/jobs/{job}").status_code == 200

    stream.close()
    coordinator.cancel(job)
    assert client.get(f"/jobs/{job}/events", headers=accept).status_code == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"data": "{", "content_type": "application/json"}, 400),
        ({"data": '{"params": {"x": NaN}}', "content_type": "application/json"}, 400),
        ({"data": '{"params": {"x": "\\ud800"}}', "content_type": "application/json"}, 400),
        ({"data": "[" * 100_000, "content_type": "application/json"}, 400),
        ({"data": "kind=x"}, 415),
        ({"data": "x" * 2000, "content_type": "application/json"}, 413),
        ({"json": []}, 422),
        ({"json": {"kind": "sum_to", "nonsense": 1}}, 422),
        ({"json": {"kind": "nonsense"}}, 422),
        ({"json": {"kind": "sum_to", "params": {"n": 1}, "queue": "elsewhere"}}, 422),
        ({"json": {"id": "a"}, "headers": {"Idempotency-Key": "b"}}, 422),
    ],
)
def test_api_answers_with_a_problem_when_a_request_is_wrong(web, request_, status):
    """Whatever is wrong, the answer says what was expected, as RFC 9457 has it."""
    limit = {} if len(request_.get("data", "")) > 10_000 else {"body_limit_bytes": 1024}

    answer = web(**limit).post("/jobs", **request_)

    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert answer.json["status"] == status and answer.json["detail"] and answer.json["title"]


def test_api_answers_with_a_problem_when_nothing_is_there(client):
    """Paths and methods that nobody serves."""
    nonsense = client.get("/nonsense").json
    assert nonsense["status"] == 404 and "/openapi.json" in nonsense["detail"]
    assert client.get("/jobs/nonsense").json["type"] == "urn:batuta:problem:job-not-found"
    wrong = client.delete("/jobs")
    assert (wrong.status_code, wrong.json["title"]) == (405, "Method Not Allowed")
    assert set(wrong.headers["Allow"].replace(" ", "").split(",")) == {"GET", "HEAD", "POST"}


def test_api_lives_in_another_application_when_mounted(coordinator, token):
    """As a blueprint it answers with problems under its own prefix, and leaves the rest as it was."""
    host = Flask("host")
    host.register_blueprint(
        make_blueprint(coordinator, WebSettings(tokens=(token[1],))), url_prefix="/batuta"
    )
    client = host.test_client()
    known = {"Authorization": f"Bearer {token[0]}"}

    made = client.post(
        "/batuta/jobs", json={"kind": "sum_to", "params": {"n": 1}, "id": "a/b"}, headers=known
    )

    assert made.headers["Location"] == "/batuta/jobs/a/b"
    assert client.get("/batuta/jobs/a/b", headers=known).json["id"] == "a/b"
    assert client.get("/batuta/jobs").content_type == "application/problem+json"
    assert client.get("/batuta/openapi.json").json["servers"] == [{"url": "/batuta"}]
    assert client.get("/nonsense").content_type.startswith("text/html")


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_readiness_costs_one_thread_when_the_broker_is_frozen(scheme):
    """Anyone may ask: while one looks at a broker that says nothing, others say what was seen before."""
    with socket.create_server(("127.0.0.1", 0)) as frozen, ThreadPoolExecutor(4) as threads:
        broker = Celery(broker=f"{scheme}://127.0.0.1:{frozen.getsockname()[1]}//", set_as_current=False)
        api = Api(SimpleNamespace(app=broker), WebSettings(is_open=True), broker_seen=(-60.0, "ok"))

        seen = list(threads.map(lambda _: service._broker(api), range(4)))

        assert sorted(seen) == ["ok", "ok", "ok", "unreachable"]
        frozen.accept()[0].close()
        frozen.settimeout(0.1)
        with pytest.raises(TimeoutError):
            frozen.accept()


def test_openapi_says_what_there_is_when_read(client):
    """The schema lists every endpoint with its scope, and is JSON of OpenAPI 3.1."""
    schema = json.loads(client.get("/openapi.json").text)

    assert schema["openapi"] == "3.1.0"
    assert schema["paths"]["/jobs"]["post"]["security"] == [{"bearer": []}]
    assert "security" not in schema["paths"]["/healthz"]["get"]
    assert schema["components"]["schemas"]["JobRequest"]["additionalProperties"] is False


def _ids(text: str) -> list[str]:
    return [line.removeprefix("id: ") for line in text.splitlines() if line.startswith("id: ")]
