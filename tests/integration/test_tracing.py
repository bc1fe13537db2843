"""Traces: every step of a job in one, under the submit, whoever sent it; exported by real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from coordinator import Coordinator
from coordinator.errors import JobFailed
from tests.conftest import Services
from tests.facade import queue_of
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


@dataclass(frozen=True)
class Traced:
    """Workers that are traced, and whoever submits to them; with what they have exported."""

    coordinator: Coordinator
    collector: Collector
    env: dict[str, str]
    start_worker: Callable[..., Worker]

    def start(self, concurrency: int = 1) -> Worker:
        return self.start_worker(concurrency=concurrency, env=self.env)

    def launch(self, canvas: str, **env: str) -> str:
        """Submit in a process of its own; returns the job's id."""
        return self.run(LAUNCH.replace("{canvas}", canvas), **env)

    def run(self, program: str, **env: str) -> str:
        """Run a program in a process of its own; returns what it printed."""
        env = {**os.environ, **self.env, "PYTHONPATH": str(ROOT), **env}
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def await_spans(self, name: str, count: int) -> list[Span]:
        """Wait for so many spans of that name, and return all that came."""
        wait_until(lambda: [span.name for span in self.collector.spans].count(name) == count, what=name)
        return self.collector.spans


@pytest.fixture
def traced(
    services: Services, coordinator: Coordinator, collector: Collector, start_worker: Callable[..., Worker]
) -> Traced:
    exporting = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    return Traced(coordinator, collector, {**services.env, **exporting}, start_worker)


def runs(spans: list[Span]) -> dict[str, Span]:
    """Return the spans in which steps ran, by step id without the job's; one of each."""
    by_step = {span.attributes["messaging.message.id"].partition(":")[2]: span for span in steps_run(spans)}
    assert len(by_step) == len(steps_run(spans))
    return by_step


def above(span: Span, spans: list[Span]) -> Span:
    """Return the span under which another was: past the span of the publish."""
    by_id = {found.id: found for found in spans}
    parent = by_id[span.parent]
    return by_id[parent.parent] if parent.name.startswith(SEND) else parent


def steps_run(spans: list[Span]) -> list[Span]:
    return [span for span in spans if span.name.startswith(RUN) and "batuta.job" in span.attributes]


@pytest.mark.brokers("rabbitmq")
def test_job_is_one_trace_when_two_workers_run_it(traced: Traced, tmp_path: Path) -> None:
    """One trace with the submit as its root, a span for each step, each under the step that sent it."""
    workers = {traced.start().nodename for _ in range(2)}
    gate, end = str(tmp_path / "gate"), str(tmp_path / "end")
    # The first part waits for the second, so that each of the two workers runs one of them.
    header = f"[flows.wait_for_file.si({gate!r}), flows.mark.s({gate!r}), flows.add.s(1)]"
    job = traced.launch(
        f"chain(flows.count_to.s(4), flows.total.s(), chord({header}, flows.mark.s({end!r})))"
    )

    assert traced.coordinator.wait(job, timeout_s=30) == ["6\n", 6, 7]
    steps = {step.id.partition(":")[2] for step in traced.coordinator.steps(job)}
    wait_until(lambda: runs(traced.collector.spans).keys() == steps, what="a span of each step")
    spans = traced.collector.spans
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
def test_step_stays_in_the_trace_when_the_reconciler_sends_it(traced: Traced, tmp_path: Path) -> None:
    """What a timer sends again, and what follows it, is in the job's trace, under its submit."""
    traced.start()
    job = traced.launch(f"chain(flows.flaky.s({str(tmp_path / 'tries')!r}, 1, 0.1), flows.double.s())")

    assert traced.coordinator.wait(job, timeout_s=30) == 4
    spans = traced.await_spans("run/tests.flows.double", 1)
    assert [span.name for span in steps_run(spans)].count("run/tests.flows.flaky") == 2
    assert len({span.trace for span in steps_run(spans)}) == 1
    flaky = [above(span, spans).name for span in steps_run(spans) if span.name.endswith("flaky")]
    assert flaky == ["submit/canvas"] * 2


@pytest.mark.brokers("rabbitmq")
def test_job_is_one_trace_when_its_message_was_purged_and_its_child_killed(
    traced: Traced, tmp_path: Path
) -> None:
    """A step whose message was lost, and one whose process was, go on in the job's trace."""
    coordinator = traced.coordinator
    job = traced.launch(f"chain(flows.die.si({str(tmp_path / 'runs')!r}, 1), flows.double.s())")
    with queue_of(coordinator) as queue:
        assert queue.purge() == 1
    traced.start()

    assert coordinator.wait(job, timeout_s=30) == 4
    assert {"redriven", "lease-lost"} <= {event.event for event in coordinator.events(job)}
    spans = traced.await_spans("run/tests.flows.double", 1)
    (root,) = [span for span in spans if span.name == "submit/canvas"]
    ran = steps_run(spans)
    assert [span.name for span in ran] == [
        "run/tests.flows.die",
        "run/tests.flows.double",
    ]  # the killed told nothing
    assert {span.trace for span in ran} == {root.trace}


@pytest.mark.brokers("rabbitmq")
def test_retry_stays_in_the_trace_when_whoever_asks_is_in_another(traced: Traced) -> None:
    """The context is the job's own, not that of whoever steers it, who may know none of its tasks."""
    traced.start()
    job = traced.launch("flows.fail.s('once')")
    with pytest.raises(JobFailed, match="once"):
        traced.coordinator.wait(job, timeout_s=30)
    traced.run(RETRY, COORDINATOR_JOBS="examples.count_word")  # which has none of these tasks

    traced.await_spans("nightly", 1)
    spans = traced.await_spans("run/tests.flows.fail", 2)
    ran = [span for span in spans if span.name == "run/tests.flows.fail"]
    assert [above(span, spans).name for span in ran] == ["submit/canvas"] * 2
    assert len({span.trace for span in ran}) == 1


@pytest.mark.brokers("rabbitmq")
def test_job_is_one_trace_when_its_submit_was_not_traced(traced: Traced) -> None:
    """Steps that start side by side, sent by a process without traces, are in one trace all the same."""
    traced.start(concurrency=2)
    job = traced.launch(
        "chord([flows.add.s(1, 1), flows.add.s(2, 2)], flows.total.s())", OTEL_SDK_DISABLED="true"
    )

    assert traced.coordinator.wait(job, timeout_s=30) == 6
    wait_until(lambda: len(runs(traced.collector.spans)) == 3, what="a span of each step")
    assert len({span.trace for span in runs(traced.collector.spans).values()}) == 1


def test_tracing_imports_nothing_when_it_is_not_asked_for() -> None:
    """Without its variables the instrumentation is not even loaded, installed or not."""
    program = "import sys, coordinator.app; print([m for m in sys.modules if 'opentelemetry.inst' in m])"
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
