"""RabbitMQ closes the channel of a consumer that has not acknowledged for ``consumer_timeout``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import chain

from coordinator.states import State, StepState
from tests.conftest import Services, make_services
from tests.flows import mark, wait_for_file
from tests.servers import MissingServer, RabbitMQ
from tests.waiting import wait_until, write_whole

pytestmark = pytest.mark.brokers("rabbitmq")

#: Looked for once a second; the shipped 30 minutes would make a long test.
IMPATIENT = "[{rabbit, [{consumer_timeout, 3000}, {channel_tick_interval, 1000}]}].\n"


@pytest.fixture(scope="module")
def impatient_node(tmp_path_factory) -> Iterator[RabbitMQ]:
    """A node of its own that waits 3 s for an acknowledgement."""
    home = tmp_path_factory.mktemp("impatient")
    (home / "advanced.config").write_text(IMPATIENT)
    try:
        node = RabbitMQ(home)
    except MissingServer as error:
        pytest.skip(str(error))
    node.start()
    yield node
    node.stop()


@pytest.fixture
def services(request, impatient_node, redis_server) -> Services:
    if request.param != "rabbitmq":
        pytest.skip("only RabbitMQ has a consumer_timeout")
    services = make_services("rabbitmq", impatient_node.url(), redis_server.url(1))
    services.env["COORDINATOR_JOBS"] = "tests.flows"
    return services


def times_out(node: RabbitMQ) -> int:
    """Return how many consumers the node says it has lost patience with."""
    logs = [path.read_text(errors="replace") for path in (node.home / "log").glob("*.log")]
    return sum(text.count("timed out waiting for") for text in logs)


@pytest.mark.parametrize("concurrency", [1, 2])
def test_step_completes_once_when_it_outlives_the_consumer_timeout(
    concurrency, coordinator, start_worker, impatient_node, tmp_path
):
    """The message comes again, twice over, while the step runs: it is not run again."""
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    before = times_out(impatient_node)
    worker = start_worker(concurrency=concurrency)
    job = coordinator.launch(chain(mark.si(1, str(runs)), wait_for_file.si(str(gate), 60), mark.s(str(runs))))
    wait_until(lambda: running(coordinator, job), what="the long step to run")

    wait_until(lambda: times_out(impatient_node) >= before + 1, timeout_s=40, what="the broker's time-out")
    release_after_a_second_time_out(impatient_node, before, gate, concurrency)

    assert coordinator.wait(job, timeout_s=30) == "done"
    assert runs.read_text().split() == ["1", "done"]
    assert [step.attempts for step in coordinator.steps(job)] == [1, 1, 1]
    assert coordinator.status(job).state == State.SUCCEEDED
    assert worker.process.is_alive()


def release_after_a_second_time_out(node: RabbitMQ, before: int, gate: Path, concurrency: int) -> None:
    """Let the step end; with one child the redelivered message waits behind it and times out too."""
    if concurrency == 1:
        wait_until(lambda: times_out(node) >= before + 2, timeout_s=40, what="a second time-out")
    write_whole(gate, "done")


def running(coordinator, job: str) -> bool:
    steps = coordinator.steps(job)
    return any(step.state == StepState.RUNNING and step.task.endswith("wait_for_file") for step in steps)
