"""Traces: every step of a job in one, under the submit, whoever sent it; exported by real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordinator import Coordinator
from tests.conftest import Services
from tests.servers import Worker
from tests.servers.collector import Collector, Span
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
RUN, SEND = "run/", "apply_async/"

#: Submits, from a process that is traced, and prints the job's id.
LAUNCH = """
from celery import chain, chord
from coordinator import Coordinator
from tests import flows
coordinator = Coordinator.from_settings()
print(coordinator.launch({canvas}, key="traced"), end="")
"""
#: Retries a failed job in the middle of something else that is traced.
RETRY = """
from coordinator import Coordinator, tracing
from opentelemetry import trace
coordinator = Coordinator.from_settings()
tracing._start()
with trace.get_tracer("cron").start_as_current_span("nightly"):
    coordinator.retry("traced")
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as found:
        yield found


@pytest.fixture
def env(services: Services, collector: Collector) -> dict[str, str]:
    return {
        **services.env,
        "COORDINATOR_JOBS": "tests.flows",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }


@pytest.fixture
def run(env: dict[str, str]) -> Callable[..., str]:
    """Run a program in a process of its own; returns what it printed."""

    def run(program: str, **more: str) -> str:
        path = {"PYTHONPATH": str(ROOT), **more}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env={**os.environ, **env, **path}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def runs(spans: list[Span]) -> dict[str, Span]:
    """Return the spans in which steps ran, by step id without the job's; one of each."""
    found = [span for span in spans if span.name.startswith(RUN) and "batuta.job" in span.attributes]
    by_step = {span.attributes["messaging.message.id"].partition(":")[2]: span for span in found}
    assert len(by_step) == len(found)
    return by_step


def above(span: Span, spans: list[Span]) -> Span:
    """Return the span under which another was: past the span of the publish."""
    by_id = {found.id: found for found in spans}
    parent = by_id[span.parent]
    return by_id[parent.parent] if parent.name.startswith(SEND) else parent


@pytest.mark.brokers("rabbitmq")
def test_job_is_one_trace_when_two_workers_run_it(
    coordinator: Coordinator,
    start_worker: Callable[..., Worker],
    env: dict[str, str],
    run: Callable[..., str],
    collector: Collector,
    tmp_path: Path,
) -> None:
    """One trace with the submit as its root, a span for each step, each under the step that sent it."""
    workers = {start_worker(concurrency=1, env=env).nodename for _ in range(2)}
    gate, end = str(tmp_path / "gate"), str(tmp_path / "end")
    # The first part waits for the second, so that each of the two workers runs one of them.
    header = f"[flows.wait_for_file.si({gate!r}), flows.mark.s({gate!r}), flows.add.s(1)]"
    canvas = f"chain(flows.count_to.s(4), flows.total.s(), chord({header}, flows.mark.s({end!r})))"
    job = run(LAUNCH.replace("{canvas}", canvas))

    assert coordinator.wait(job, timeout_s=30) == ["6\n", 6, 7]
    steps = {step.id.partition(":")[2] for step in coordinator.state_manager.steps(job)}
    wait_until(lambda: runs(collector.spans).keys() == steps, timeout_s=20)
    spans = collector.spans
    of_job = [span for span in spans if span.trace == next(iter(runs(spans).values())).trace]
    assert set(runs(of_job)) == steps
    (root,) = [span for span in of_job if not span.parent]
    assert root.name == "submit/canvas" and root.attributes["batuta.job"] == job
    parents = {step: above(span, of_job).name for step, span in runs(of_job).items()}
    count_to, total, *header, body = sorted(parents)
    assert parents[count_to] == "submit/canvas"
    assert parents[total] == "run/tests.flows.count_to"
    assert {parents[step] for step in header} == {"run/tests.flows.total"}
    assert parents[body] in {runs(of_job)[step].name for step in header}
    assert {span.attributes["batuta.worker"] for span in runs(of_job).values()} == workers
    assert {span.service for span in of_job} == {"batuta"}


@pytest.mark.brokers("rabbitmq")
def test_step_stays_in_the_trace_when_the_reconciler_sends_it(
    coordinator: Coordinator,
    start_worker: Callable[..., Worker],
    env: dict[str, str],
    run: Callable[..., str],
    collector: Collector,
    tmp_path: Path,
) -> None:
    """What a timer sends again, and what follows it, is in the job's trace, under its submit."""
    start_worker(concurrency=1, env=env)
    path = str(tmp_path / "tries")
    job = run(LAUNCH.replace("{canvas}", f"chain(flows.flaky.s({path!r}, 1, 0.1), flows.double.s())"))

    assert coordinator.wait(job, timeout_s=30) == 4
    wait_until(lambda: [s.name for s in collector.spans].count("run/tests.flows.double") == 1, timeout_s=20)
    spans = collector.spans
    ran = [span for span in spans if span.name.startswith(RUN) and "batuta.job" in span.attributes]
    assert [span.name for span in ran].count("run/tests.flows.flaky") == 2
    assert len({span.trace for span in ran}) == 1
    flaky = [above(span, spans).name for span in ran if span.name.endswith("flaky")]
    assert flaky == ["submit/canvas"] * 2


@pytest.mark.brokers("rabbitmq")
def test_retry_stays_in_the_trace_when_whoever_asks_is_in_another(
    coordinator: Coordinator,
    start_worker: Callable[..., Worker],
    env: dict[str, str],
    run: Callable[..., str],
    collector: Collector,
) -> None:
    """The context is the job's own, not that of whoever steers it, who may know none of its tasks."""
    start_worker(concurrency=1, env=env)
    knows_no_task = {"COORDINATOR_JOBS": "examples.count_word"}
    job = run(LAUNCH.replace("{canvas}", "flows.fail.s('once')"))
    with pytest.raises(Exception, match="once"):
        coordinator.wait(job, timeout_s=30)
    run(RETRY, **knows_no_task)

    wait_until(lambda: [s.name for s in collector.spans].count("run/tests.flows.fail") == 2, timeout_s=20)
    wait_until(lambda: any(span.name == "nightly" for span in collector.spans), timeout_s=20)
    spans = collector.spans
    ran = [span for span in spans if span.name == "run/tests.flows.fail"]
    assert [above(span, spans).name for span in ran] == ["submit/canvas"] * 2
    assert len({span.trace for span in ran}) == 1


@pytest.mark.brokers("rabbitmq")
def test_job_is_one_trace_when_its_submit_was_not_traced(
    coordinator: Coordinator,
    start_worker: Callable[..., Worker],
    env: dict[str, str],
    run: Callable[..., str],
    collector: Collector,
) -> None:
    """Steps that start side by side, sent by a process without traces, are in one trace all the same."""
    start_worker(concurrency=2, env=env)
    canvas = "chord([flows.add.s(1, 1), flows.add.s(2, 2)], flows.total.s())"
    job = run(LAUNCH.replace("{canvas}", canvas), OTEL_SDK_DISABLED="true")

    assert coordinator.wait(job, timeout_s=30) == 6
    wait_until(lambda: len(runs(collector.spans)) == 3, timeout_s=20)
    assert len({span.trace for span in runs(collector.spans).values()}) == 1


def test_tracing_imports_nothing_when_it_is_not_asked_for() -> None:
    """Without its variables the instrumentation is not even loaded, installed or not."""
    program = "import sys, coordinator.app; print([m for m in sys.modules if 'opentelemetry.inst' in m])"
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
