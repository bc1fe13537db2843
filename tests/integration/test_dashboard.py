"""Flower as people start it, with the Jobs tab: its JSON, and who may do what."""

from __future__ import annotations

import base64
import subprocess
import sys
import urllib.error
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord

from coordinator.states import State
from tests.conftest import LOGS
from tests.flows import add, double, fail, total, wait_for_file
from tests.servers.flower import Flower
from tests.waiting import wait_until

LOGIN = {"Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}


@pytest.fixture
def start_flower(request, services, tmp_path: Path) -> Iterator[Callable[..., Flower]]:
    """Start Flower with options, ended with the test."""
    running: list[Flower] = []

    def start(*options: str, env: dict[str, str] | None = None, app: str = "coordinator.app") -> Flower:
        flower = Flower({**services.env, **(env or {})}, *options, home=tmp_path, app=app)
        running.append(flower)
        request.node.stash.setdefault(LOGS, []).append(flower.process.log)
        return flower.start()

    yield start
    for flower in running:
        flower.kill()


def refused(call: Callable[[], Any]) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        call()
    with caught.value as error:
        return error.code, error.read().decode()


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


def test_job_page_shows_graph_attempts_and_error_when_failed(coordinator, start_worker, start_flower):
    """Everything that one wants to know of a failed job is on its page; what is known is not sent again."""
    worker = start_worker()
    job = coordinator.launch(chain(chord([add.s(1, 2), fail.s("no such <column>")], total.s()), double.s()))
    wait_until(lambda: coordinator.status(job).state == State.FAILED)
    flower = start_flower()

    page = flower.get(f"/job/{job}")
    seen = flower.json(f"/jobs/live/{job}")

    assert job in page and "<column>" not in page
    assert (
        seen["errors"][0]["message"] == "no such <column>" and "Traceback" in seen["errors"][0]["traceback"]
    )
    assert "fail[1]" in seen["graph"] and "graph-failed" in seen["graph"]
    assert worker.nodename in seen["timeline"] and "timeline-failed" in seen["timeline"]
    assert "failed" in [event["event"] for event in seen["events"]]
    again = flower.json(f"/jobs/live/{job}?known={','.join(seen['marks'].values())}")
    assert not {"graph", "timeline", "errors", "events", "flags"} & set(again)


def test_job_is_steered_when_the_request_comes_from_flowers_own_page(
    coordinator, start_worker, start_flower, tmp_path
):
    """On this machine alone no password is needed: pause, resume, cancel and retry do what they say."""
    start_worker()
    go = tmp_path / "go"
    job = coordinator.launch(chain(wait_for_file.si(str(go)), add.si(1, 2)), key="a/b")
    flower = start_flower()
    token = {"X_XSRFToken": flower.token(), "Origin": flower.url}

    for verb, state in {"pause": "paused", "resume": "processing", "cancel": "cancelled"}.items():
        assert flower.post(f"/jobs/{verb}/{job}", **token)["state"] == state
        assert coordinator.status(job).state == state
    code, words = refused(lambda: flower.post(f"/jobs/pause/{job}", **token))
    assert code == 409 and "only processing jobs can be paused" in words
    go.write_text("go")
    assert flower.post(f"/jobs/retry/{job}", **token)["state"] == "processing"
    assert coordinator.wait(job, timeout_s=20) == 3
    assert refused(lambda: flower.post("/jobs/cancel/nobody", **token))[0] == 404


def test_steering_is_refused_when_it_comes_from_elsewhere(coordinator, start_flower):
    """Another site, a name bound to this machine, a proxy without a password: none may steer."""
    job = coordinator.launch(add.s(1, 2))
    flower = start_flower()
    token = flower.token()
    cases = [
        {},
        {"X_XSRFToken": "guess"},
        {"X_XSRFToken": token, "Origin": "http://evil.example"},
        {"X_XSRFToken": token, "Origin": "http://["},
        {"X_XSRFToken": token, "Sec_Fetch_Site": "cross-site"},
        {"X_XSRFToken": token, "Host": "evil.example"},
        {"X_XSRFToken": token, "X_Forwarded_For": "203.0.113.7"},
    ]

    for headers in cases:
        assert refused(lambda headers=headers: flower.post(f"/jobs/cancel/{job}", **headers))[0] == 403, (
            headers
        )
    assert coordinator.status(job).state == State.PROCESSING


def test_jobs_ask_for_the_password_when_flower_has_one(coordinator, start_flower):
    """The same login as Flower's own pages, on every one of ours."""
    job = coordinator.launch(add.s(1, 2))
    flower = start_flower(env={"FLOWER_BASIC_AUTH": "ann:secret"})

    for path in ("/jobs", "/jobs/list", f"/job/{job}", f"/jobs/live/{job}"):
        assert refused(lambda path=path: flower.get(path))[0] == 401, path
        assert flower.get(path, **LOGIN)
    assert refused(lambda: flower.post(f"/jobs/cancel/{job}"))[0] in (401, 403)
    assert flower.post(f"/jobs/cancel/{job}", **LOGIN)["state"] == "cancelled"


def test_jobs_can_be_seen_but_not_steered_when_flower_is_read_only(coordinator, start_flower):
    """Flower's read-only mode holds for jobs too, and takes the buttons away."""
    job = coordinator.launch(add.s(1, 2))
    flower = start_flower("--read-only", "--url-prefix=watch")
    token = {"X_XSRFToken": "", "Origin": flower.url}
    flower.get("/watch/jobs")
    token["X_XSRFToken"] = next(cookie.value for cookie in flower.cookies if cookie.name == "_xsrf")

    page = flower.get(f"/watch/job/{job}")
    assert "data-verb" not in page
    assert 'href="/watch/jobs"' in flower.get("/watch/tasks")
    assert flower.get("/watch/jobs/static/jobs.js")
    code, words = refused(lambda: flower.post(f"/watch/jobs/cancel/{job}", **token))
    assert code == 403 and "read-only" in words


def test_flower_goes_on_answering_when_redis_is_away(start_flower):
    """A read that waits for Redis holds up nobody else, and ends with what to do about it."""
    flower = start_flower(env={"REDIS_URL": "redis://127.0.0.1:1/1"})

    with ThreadPoolExecutor(1) as pool:
        listing = pool.submit(refused, lambda: flower.get("/jobs/list"))
        assert flower.get("/healthcheck") == "OK"
        assert not listing.done()
        code, words = listing.result()

    assert code == 503 and "REDIS_URL" in words


def test_tab_is_there_when_a_project_of_ones_own_is_named(start_flower, tmp_path):
    """``celery -A my_project flower``: a module that imports our app has the tab."""
    (tmp_path / "my_project.py").write_text("from coordinator.app import app\n")

    flower = start_flower(env={"PYTHONPATH": str(tmp_path)}, app="my_project")

    assert 'href="/jobs"' in flower.get("/")


def test_worker_loads_no_web_server_when_the_app_is_imported():
    """The tab costs a worker nothing: Tornado is imported where Flower runs, and only there."""
    names = ("tornado.web", "flower", "coordinator.dashboard.pages")
    code = f"import sys; import coordinator.app; print([name for name in {names} if name in sys.modules])"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"
