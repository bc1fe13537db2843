"""The Jobs tab in a real browser: what moves, what asks first, what stands where."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import chain, chord
from werkzeug.serving import make_server

from coordinator import Coordinator
from coordinator.own_jobs import submit_own
from coordinator.states import State
from coordinator.web import WebSettings, create_app
from coordinator.web.tokens import new_token
from tests.acceptance.browser import Browser, browser, chromium
from tests.conftest import LOGS, Services, make_services
from tests.facade import opened
from tests.flows import add, fail, mark, total
from tests.servers import Redis, Worker
from tests.servers.flower import Flower
from tests.waiting import wait_until

__all__ = ["browser", "chromium"]
pytestmark = pytest.mark.browser


@pytest.fixture
def place(redis_server: Redis) -> Services:
    """One broker is enough to look at pages."""
    place = make_services("redis", redis_server.url(0), redis_server.url(1))
    place.env["COORDINATOR_JOBS"] = "tests.flows,tests.acceptance.browser_jobs"
    return place


@pytest.fixture
def coordinator(place: Services) -> Iterator[Coordinator]:
    with opened(place.env) as facade:
        yield facade


@pytest.fixture
def flower(request: pytest.FixtureRequest, place: Services, tmp_path: Path) -> Iterator[Flower]:
    flower = Flower(place.env, home=tmp_path)
    request.node.stash.setdefault(LOGS, []).append(flower.process.log)
    yield flower.start()
    flower.kill()


@pytest.fixture
def worker(request: pytest.FixtureRequest, place: Services, tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(place.env, home=tmp_path)
    request.node.stash.setdefault(LOGS, []).append(worker.log)
    yield worker.start()
    worker.kill()


@pytest.fixture
def submit(coordinator: Coordinator) -> Iterator[object]:
    """Submit a job by HTTP; returns its id."""
    token, known = new_token("browser-test", ("submit",))
    server = make_server("127.0.0.1", 0, create_app(coordinator, WebSettings(tokens=(known,))), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def submit(kind: str, **params: object) -> str:
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.port}/jobs",
            data=json.dumps({"kind": kind, "params": params}).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return str(json.loads(answer.read())["id"])

    yield submit
    server.shutdown()
    thread.join()
    server.server_close()


def test_bar_moves_and_button_cancels_when_one_watches(
    browser: Browser, flower, worker, coordinator, submit, tmp_path
):
    """Submitted by HTTP, seen in the list, watched on its page, cancelled by its button after a question."""
    job = submit("gated", folder=str(tmp_path), parts=8)
    browser.open(f"{flower.url}/jobs")
    browser.wait_text(f"[data-job='{job}'] .job-steps", "1 / 10")
    (tmp_path / "0").write_text("go")
    browser.wait_text(f"[data-job='{job}'] .job-steps", "2 / 10")
    browser.press(f"[data-job='{job}'] a")

    browser.wait_text("#job-progress", "2 of 10 steps")
    for number in (1, 2, 3):
        (tmp_path / str(number)).write_text("go")
    browser.wait_text("#job-progress", "5 of 10 steps")
    browser.wait_text(".graph-running .graph-words", "4 / 8")
    assert browser.find("#job-progress .progress-bar").value_of_css_property("width") != "0px"

    browser.press("[data-verb=cancel]")
    browser.wait_text("#job-question-title", "Cancel this job?")
    browser.press("#job-question [data-bs-dismiss=modal].btn")
    wait_until(lambda: not browser.sees("#job-question"), what="the question gone")
    assert coordinator.status(job).state == State.PROCESSING

    browser.press("[data-verb=cancel]")
    browser.press("#job-question-yes")
    browser.wait_text("#job-state", "CANCELLED")
    assert coordinator.status(job).state == State.CANCELLED
    assert browser.sees("[data-verb=retry]") and not browser.sees("[data-verb=cancel]")
    assert browser.errors() == []
    assert {url.split("/")[2] for url in browser.asked() if url.startswith("http")} == {
        f"127.0.0.1:{flower.port}"
    }


def test_failed_job_is_retried_by_its_button_when_its_error_was_read(
    browser: Browser, flower, worker, coordinator, tmp_path
):
    """The error stands open with its traceback; after the retry the page goes on by itself."""
    job = coordinator.launch(chain(chord([add.s(1, 2), mark.s(1, str(tmp_path / "no" / "file"))], total.s())))
    wait_until(lambda: coordinator.status(job).state == State.FAILED)
    browser.open(f"{flower.url}/job/{job}")

    browser.wait_text("#job-errors", "FileNotFoundError")
    assert "Traceback" in browser.text("#job-errors .detail-code")
    assert browser.sees(".graph-failed") and browser.sees(".timeline-failed")
    (tmp_path / "no").mkdir()
    browser.press("[data-verb=retry]")
    browser.press("#job-question-yes")

    browser.wait_text("#job-state", "SUCCEEDED")
    wait_until(lambda: not browser.sees("#job-errors-card"), what="the error gone")
    assert browser.errors() == []


def test_list_counts_what_it_shows_when_batuta_runs_jobs_of_its_own(browser: Browser, flower, coordinator):
    """Alerts and measurements are jobs too, and are not listed: nobody should look for them."""
    coordinator.launch(add.s(1, 2), key="mine")
    submit_own(coordinator.app.parts, "coordinator.test", add.s(1, 2))
    browser.open(f"{flower.url}/jobs")

    browser.wait_text("#jobs-count", "1 job, 1 not ended")


def test_list_is_filtered_searched_and_turned_when_many(browser: Browser, flower, coordinator):
    """Sixty jobs are two pages; a state and the start of an id leave what they say."""
    for number in range(60):
        coordinator.launch(add.s(1, 2), key=f"2026/{number:02}")
    coordinator.cancel("2026/07", "<b>not</b> needed")
    browser.open(f"{flower.url}/jobs")

    browser.wait_text("#jobs-count", "60 jobs, 59 not ended")
    browser.find("[data-job='2026/59']")
    browser.press("#jobs-older button")
    browser.find("[data-job='2026/00']")
    browser.press("#jobs-newer button")
    browser.find("[data-job='2026/59']")
    browser.press("[data-job-state=cancelled]")
    browser.wait_text("#jobs-table .job-note", "<b>not</b> needed")
    assert browser.driver.current_url.endswith("?state=cancelled")
    browser.press("[data-job-state='']")
    browser.find("[data-job='2026/59']")
    browser.find("#jobs-search").send_keys("2026/4")
    browser.find("[data-job='2026/40']")
    wait_until(lambda: not browser.sees("[data-job='2026/59']"), what="the others gone")


def test_page_says_what_is_wrong_when_redis_is_away(browser: Browser, place: Services, tmp_path):
    """Nobody looks at a list that stands still and takes it for the truth."""
    flower = Flower({**place.env, "REDIS_URL": "redis://127.0.0.1:1/1"}, home=tmp_path).start()

    browser.open(f"{flower.url}/jobs")
    browser.wait_text("#jobs-trouble", "Redis at redis://127.0.0.1:1/1 can't be used")
    assert browser.text("#jobs-live-status") == "Out of reach"
    flower.kill()


@pytest.mark.parametrize("width", [1400, 600, 360])
def test_pages_fit_their_window_when_it_is_narrow(browser: Browser, flower, coordinator, worker, width):
    """Nothing but what scrolls by itself is wider than the window, in the list and on a page."""
    long_id = "a-key-that-somebody-made-of-the-names-of-many-things/" + "2026-11-24" * 6
    job = coordinator.launch(chain(fail.s("word" * 60), *(add.si(1, 2) for _ in range(12))), key=long_id)
    wait_until(lambda: coordinator.status(job).state == State.FAILED)
    browser.resize(width, 900)

    for path in ("/jobs", f"/job/{job}"):
        browser.open(flower.url + path)
        browser.find(f"[data-job='{job}']")
        browser.wait_text("body", "FAILED")
        assert browser.overflow() <= 0, path
