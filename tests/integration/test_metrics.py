"""Metrics say what happened, wherever they are read; logs say where."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from coordinator import Coordinator
from coordinator.errors import JobFailed, JobRejected
from coordinator.metrics import BUCKETS, JobsCollector, make_registry
from coordinator.web import WebSettings, create_app
from tests.flows import add, die, fail, flaky, mark
from tests.servers.flower import Flower
from tests.unit.test_states import LUA
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
Sample = Callable[..., float | None]


@pytest.fixture
def sample(coordinator: Coordinator) -> Sample:
    """Read one sample: ``sample("batuta_jobs_total", kind="sum_to", state="failed")``."""

    def read(name: str, **labels: str) -> float | None:
        return make_registry(coordinator.state_manager).get_sample_value(name, labels)

    return read


def test_metrics_count_jobs_by_kind_and_state_when_they_move(coordinator, start_worker, sample):
    """Every transition is counted once, and what is active is what came in and has not gone out."""
    for n in (2, 3):
        coordinator.submit("sum_to", {"n": n}, key=f"n{n}")
    held = coordinator.launch(add.s(1, 1))
    coordinator.pause(held)
    assert sample("batuta_jobs_active", kind="sum_to", state="received") == 2
    assert sample("batuta_jobs_active", kind="canvas", state="paused") == 1

    start_worker()
    with pytest.raises(JobRejected):
        coordinator.wait("n3", timeout_s=20)
    coordinator.wait("n2", timeout_s=20)
    coordinator.cancel(held)

    assert sample("batuta_jobs_total", kind="sum_to", state="succeeded") == 1
    assert sample("batuta_jobs_total", kind="sum_to", state="rejected") == 1
    assert sample("batuta_jobs_total", kind="canvas", state="cancelled") == 1
    active = [
        sample("batuta_jobs_active", kind=kind, state=state) or 0
        for kind in ("sum_to", "canvas")
        for state in ("received", "processing", "paused")
    ]
    assert active == [0] * 6
    assert sample("batuta_alerts_total", alert="rejected") == 1
    assert sample("batuta_jobs_kept") == 3


def test_metrics_tell_times_when_jobs_end(coordinator, start_worker, sample):
    """Durations and waits are histograms: as many as there were jobs, in buckets that add up."""
    start_worker()
    for _ in range(3):
        coordinator.wait(coordinator.launch(add.s(1, 1)), timeout_s=20)

    took = {"kind": "canvas", "state": "succeeded"}
    assert sample("batuta_job_duration_seconds_count", **took) == 3
    assert 0 < sample("batuta_job_duration_seconds_sum", **took) < 60
    assert sample("batuta_job_duration_seconds_bucket", le="60.0", **took) == 3
    assert sample("batuta_job_wait_seconds_count", kind="canvas") == 3
    assert sample("batuta_steps_recorded_total") == 3


def test_metrics_count_what_went_wrong_when_it_did(coordinator, start_worker, services, sample, tmp_path):
    """Failures, retries, lost processes, dead letters, redrives, and late writes that were refused."""
    services.env["COORDINATOR_MAX_ATTEMPTS"] = "2"
    start_worker()
    for canvas in (fail.s("boom"), die.s(str(tmp_path / "runs"), 9)):
        with pytest.raises(JobFailed):
            coordinator.wait(coordinator.launch(canvas), timeout_s=40)
    coordinator.wait(coordinator.launch(flaky.s(str(tmp_path / "tries"), 1, 0.1)), timeout_s=20)
    late = coordinator.launch(mark.s("x", str(tmp_path / "mark")))
    coordinator.wait(late, timeout_s=20)
    state = coordinator.state_manager
    other = coordinator.launch(add.s(1, 1).set(queue=f"{services.env['COORDINATOR_QUEUE']}-nobody"))
    assert state.finish(other, "0", 7, '[1,7,0,0,"w"]', ())[0] == "fenced"

    assert sample("batuta_jobs_total", kind="canvas", state="failed") == 2
    assert sample("batuta_dead_letters_total") == 1
    assert sample("batuta_processes_lost_total") == 2
    assert sample("batuta_step_retries_total") == 1
    assert sample("batuta_fenced_writes_total") == 1
    assert sample("batuta_redrives_total") >= 0
    assert sample("batuta_outbox_entries") == 0 and sample("batuta_leases") == 0


def test_metrics_are_served_and_cost_one_round_trip_when_there_are_many_jobs(coordinator):
    """The text is Prometheus' own; how many jobs there are does not matter."""
    client = create_app(coordinator, WebSettings(is_open=True, rate_per_minute=0)).test_client()
    for _ in range(30):
        coordinator.launch(add.s(1, 1))

    before = _commands(coordinator)
    answer = client.get("/metrics")
    asked = _commands(coordinator) - before

    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert answer.content_type.startswith("text/plain")
    assert families["batuta_jobs_active"].samples[0].value == 30
    assert families["batuta_redis_up"].samples[0].value == 1
    assert asked < 16 * 8


@pytest.mark.parametrize(
    "accept", ["text/plain;version=x", "application/openmetrics-text;version=1=2", ";;=,"]
)
def test_metrics_are_plain_when_what_is_asked_for_makes_no_sense(coordinator, accept):
    """A header that no scraper sends gets the format that all read."""
    client = create_app(coordinator, WebSettings(is_open=True)).test_client()
    answer = client.get("/metrics", headers={"Accept": accept})
    assert (answer.status_code, answer.content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")


def test_metrics_say_that_redis_is_away_when_it_is(coordinator, sample, monkeypatch):
    """Whoever scrapes gets an answer, which says so."""
    monkeypatch.setattr(coordinator.state_manager.client, "pipeline", _refuse)

    assert sample("batuta_redis_up") == 0
    assert sample("batuta_jobs_kept") is None


def test_metrics_are_among_those_of_flower_when_it_runs(coordinator, services, tmp_path):
    """One scrape tells of workers, tasks and jobs."""
    coordinator.launch(add.s(1, 1))
    flower = Flower(services.env, home=tmp_path).start()
    try:
        families = {family.name: family for family in text_string_to_metric_families(flower.get("/metrics"))}
    finally:
        flower.kill()

    assert families["batuta_jobs_active"].samples[0].value == 1
    assert any(name.startswith("flower_") for name in families)


def test_buckets_are_those_of_the_scripts():
    """The histogram's buckets are said twice: here they are kept alike."""
    text = (LUA / "prelude.lua").read_text()

    assert "{" + ", ".join(BUCKETS[:-1]) + "}" in text


def test_logs_say_job_step_and_attempt_when_they_are_json(coordinator, start_worker, services):
    """What a worker logs, after Celery's banner, are JSON objects; those about a step say which."""
    services.env["COORDINATOR_LOG"] = "json"
    worker = start_worker()
    job = coordinator.launch(fail.s("boom"))
    with pytest.raises(JobFailed):
        coordinator.wait(job, timeout_s=20)

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in worker.log.read_text().splitlines() if line.startswith("{")]

    alert = wait_until(
        lambda: next((line for line in lines() if line["logger"] == "coordinator.alerts"), None),
        what="the alert in the log",
    )
    about = [line for line in lines() if line.get("job") == job]
    assert {line["step"] for line in about if "step" in line} == {f"{job}:0.fail"}
    assert (alert["level"], alert["attempt"], alert["step"]) == ("error", 1, f"{job}:0.fail")
    assert all({"time", "level", "logger", "event"} <= line.keys() for line in lines())
    assert not re.search(r"^\[\d{4}-\d\d-\d\d ", worker.log.read_text(), re.MULTILINE), (
        "a line in Celery's own form"
    )


def _refuse(**_: object) -> None:
    raise redis.ConnectionError("refused")


def _commands(coordinator: Coordinator) -> int:
    return int(coordinator.state_manager.client.info("stats")["total_commands_processed"])


def test_deployment_files_ask_only_for_metrics_that_there_are(coordinator):
    """The dashboard and the alert rules name no metric that nothing tells."""
    families = JobsCollector(lambda: coordinator.state_manager).collect()
    told = {name for family in families for name in _names(family)}
    for name in ("deploy/grafana/batuta.json", "deploy/prometheus/alerts.yml"):
        asked = set(re.findall(r"\bbatuta_[a-z_]+\b", (ROOT / name).read_text()))
        assert asked and asked <= told, name
    json.loads((ROOT / "deploy/grafana/batuta.json").read_text())


def _names(family: Any) -> list[str]:
    ends = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return [family.name + end for end in ends[family.type]]
