"""A primary of the cluster is killed under a job: its replica takes over, and the job completes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import chain

from coordinator import each
from coordinator.errors import StateUnreachable
from coordinator.states import StepState
from tests.conftest import Services, make_services
from tests.flows import count_to, double, slowly, total
from tests.servers import RabbitMQ, RedisCluster
from tests.waiting import wait_until

pytestmark = pytest.mark.cluster


@pytest.fixture
def with_replicas(tmp_path) -> Iterator[RedisCluster]:
    cluster = RedisCluster(tmp_path / "cluster", with_replicas=True)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def services(request, rabbitmq: RabbitMQ, with_replicas: RedisCluster) -> Services:
    services = make_services("rabbitmq", rabbitmq.url(), with_replicas.url())
    services.env["COORDINATOR_JOBS"] = "tests.flows"
    return services


@pytest.mark.brokers("rabbitmq")
def test_job_completes_when_the_primary_that_holds_it_is_killed(coordinator, start_worker, with_replicas):
    """Nobody does anything: steps that ended meanwhile are recorded once the replica has taken over."""
    start_worker()
    job = coordinator.launch(chain(count_to.s(12), each(slowly.s(0.3), join=total.s()), double.s()))
    wait_until(
        lambda: sum(step.state == StepState.SUCCEEDED for step in coordinator.steps(job)) > 3,
        what="some steps",
    )
    key = coordinator.state_manager.keys.named(job, "m")[0]
    killed = with_replicas.owner(key)
    asked = next(node for node in with_replicas.nodes if node is not killed)

    killed.kill()

    wait_until(
        lambda: with_replicas.owner(key, asked) is not killed, timeout_s=30, what="a replica to take over"
    )

    def ended() -> bool:
        try:
            return coordinator.status(job).state.is_terminal
        except StateUnreachable:
            return False

    wait_until(ended, timeout_s=40, what="the job to end")
    assert coordinator.result(job) == 132
