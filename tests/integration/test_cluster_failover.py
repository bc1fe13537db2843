"""Clusters of their own: a primary that is killed under a job, a node that is gone, TLS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trustme
from celery import chain

from coordinator import Settings, each, outbox
from coordinator.errors import StateUnreachable
from coordinator.state import StateManager
from coordinator.states import StepState
from tests.conftest import Services, make_services
from tests.facade import opened
from tests.flows import add, count_to, double, slowly, total
from tests.servers import RabbitMQ, RedisCluster, Worker
from tests.servers.certificates import Certificates
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
def services(rabbitmq: RabbitMQ, with_replicas: RedisCluster) -> Services:
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


@pytest.mark.brokers("rabbitmq")
def test_jobs_on_other_nodes_go_on_when_one_is_gone_and_full_coverage_is_not_required(
    coordinator, start_worker, with_replicas, monkeypatch
):
    """What looks at every shard says that Redis can't be used, until the node is back."""
    for node in with_replicas.nodes:
        node.ask("CONFIG SET", "cluster-require-full-coverage", "no")
    start_worker()
    gone = with_replicas.owner(
        coordinator.state_manager.keys.index(0, "jobs")
    )  # by whose clock all is measured
    asked = next(node for node in with_replicas.nodes if node not in (gone, with_replicas.replica_of(gone)))
    key = next(
        f"on-{n}" for n in range(200) if with_replicas.owner(meta_of(coordinator, f"on-{n}")) is not gone
    )
    with_replicas.replica_of(gone).kill()
    gone.kill()
    wait_until(lambda: asked.ask("CLUSTER INFO")["cluster_slots_fail"] != "0", what="the node to be missed")

    monkeypatch.setattr(outbox, "TOUCHED_EVERY_S", 0)  # as where a send takes its time
    job = coordinator.launch(chain(add.s(1, 2), double.s()), key=key)

    assert coordinator.wait(job, timeout_s=30) == 6
    with pytest.raises(StateUnreachable):
        coordinator.jobs()
    gone.start()
    wait_until(lambda: asked.ask("CLUSTER INFO")["cluster_slots_fail"] == "0", what="the node to be back")
    assert [found.id for found in coordinator.jobs()] == [key]


def meta_of(coordinator, job: str) -> str:
    return coordinator.state_manager.keys.named(job, "m")[0]


@pytest.mark.brokers("rabbitmq")
def test_job_succeeds_on_every_node_when_a_cluster_speaks_tls(rabbitmq, tmp_path):
    """Nodes that the client finds by itself are spoken to as those that were named; a stranger's are not."""
    files = Certificates.issued(tmp_path)
    cluster = RedisCluster(tmp_path / "cluster", tls=files)
    services = make_services("rabbitmq", rabbitmq.url(), cluster.tls_url(files.ca))
    env = {**services.env, "COORDINATOR_JOBS": "tests.flows"}
    worker = Worker(env, home=tmp_path)
    try:
        cluster.start()
        worker.start()
        with opened(env) as coordinator:
            jobs = [coordinator.launch(add.s(n, 1)) for n in range(12)]
            assert [coordinator.wait(job, timeout_s=30) for job in jobs] == list(range(1, 13))
            assert len({cluster.owner(meta_of(coordinator, job)).port for job in jobs}) == 3
        other = tmp_path / "other.pem"
        trustme.CA().cert_pem.write_to_path(other)
        state = StateManager(Settings(broker_url="amqp://x", redis_url=cluster.tls_url(other)))
        with pytest.raises(StateUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
            state.state("any")
    finally:
        worker.kill()
        cluster.stop()
