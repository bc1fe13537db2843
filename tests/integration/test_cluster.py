"""The whole on a Redis Cluster: one worker for all tests, jobs in the shards of all three nodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import chain, chord
from celery.result import AsyncResult

from coordinator import Coordinator, Settings, each, race
from coordinator.app import make_app
from coordinator.dashboard.view import job_view, jobs_page
from coordinator.errors import JobCancelled, JobFailed, JobRejected, StateUnreachable
from coordinator.metrics import make_registry
from coordinator.states import State
from tests.conftest import Services, make_services
from tests.facade import opened, running
from tests.flows import (
    add,
    count_to,
    die,
    double,
    flaky,
    grow,
    mark_but_seven,
    total,
    until_cancelled,
    wait_for_file,
)
from tests.servers import RabbitMQ, RedisCluster, Worker
from tests.waiting import wait_until

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def cluster_services(rabbitmq: RabbitMQ, redis_cluster: RedisCluster) -> Services:
    services = make_services("rabbitmq", rabbitmq.url(), redis_cluster.url())
    services.env["COORDINATOR_JOBS"] = "tests.flows"
    return services


@pytest.fixture(scope="module")
def coordinator(cluster_services: Services) -> Iterator[Coordinator]:
    with opened(cluster_services.env) as facade:
        yield facade


@pytest.fixture(scope="module")
def worker(cluster_services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    worker = Worker(cluster_services.env, home=tmp_path_factory.mktemp("worker")).start()
    yield worker
    worker.kill()


def spread_keys(coordinator: Coordinator, cluster: RedisCluster) -> list[str]:
    """Return keys of three jobs, each of which lies on another node."""
    found: dict[int, str] = {}
    for number in range(200):
        meta = coordinator.state_manager.keys.named(f"on-{number}", "m")[0]
        found.setdefault(cluster.owner(meta).port, f"on-{number}")
    assert len(found) == 3
    return list(found.values())


def test_canvases_give_their_values_when_jobs_lie_in_a_cluster(coordinator, worker, redis_cluster):
    """Chains, chords, ``each``, batches, races and ``replace``, on the shards of every node."""
    canvases = [
        (chain(add.s(1, 2), chord([add.s(10), double.s()], total.s()), double.s()), 2 * (13 + 6)),
        (chain(count_to.s(9), each(double.s(), join=total.s())), 72),
        (chain(count_to.s(90), each(double.s(), join=total.s(), batch=20)), 90 * 89),
        (chain(race(double.s(4), chain(double.s(2), double.s())), add.s(1)), 9),
        (chain(grow.s(4), double.s()), 24),
    ]
    jobs = {
        coordinator.launch(canvas, key=f"{key}-{number}"): value
        for key in spread_keys(coordinator, redis_cluster)
        for number, (canvas, value) in enumerate(canvases)
    }

    assert {job: coordinator.wait(job, timeout_s=30) for job in jobs} == jobs
    assert len({coordinator.state_manager.keys.shard_of(job) for job in jobs}) > 3
    step = coordinator.steps(next(iter(jobs)))[-1].id
    assert AsyncResult(step, app=coordinator.app).get(timeout=10) == 38


def test_jobs_are_steered_when_they_lie_in_a_cluster(coordinator, worker, tmp_path):
    """Pause and resume, cancel, a step's retry, a killed child, and a retry that keeps what is recorded."""
    gate = tmp_path / "gate"
    paused = coordinator.launch(chain(wait_for_file.s(str(gate)), add.si(1, 1), double.s()))
    coordinator.pause(paused)
    assert coordinator.status(paused).state == State.PAUSED
    cancelled = coordinator.launch(until_cancelled.s(str(tmp_path / "seen")))
    wait_until(lambda: (tmp_path / "seen.started").exists(), what="the step to run")
    coordinator.cancel(cancelled)
    runs = tmp_path / "runs"
    failed = coordinator.launch(
        chain(count_to.s(9), each(mark_but_seven.s(str(runs), str(gate)), join=total.s()))
    )
    with pytest.raises(JobFailed, match="7 is refused"):
        coordinator.wait(failed, timeout_s=20)
    gate.touch()
    coordinator.retry(failed)
    coordinator.resume(paused)

    assert coordinator.wait(failed, timeout_s=20) == 36
    assert sorted(runs.read_text().split()) == list("012345678")
    assert coordinator.wait(paused, timeout_s=20) == 4
    with pytest.raises(JobCancelled):
        coordinator.wait(cancelled, timeout_s=20)
    assert coordinator.wait(coordinator.launch(flaky.s(str(tmp_path / "f"), 1, 0.1)), timeout_s=20) == 2
    assert coordinator.wait(coordinator.launch(die.s(str(tmp_path / "d"), 1)), timeout_s=20) == 2


def test_job_waits_and_goes_on_when_its_slot_moves(coordinator, worker, redis_cluster, tmp_path):
    """Half of the slot's keys are elsewhere: its jobs stand still, the others go on."""
    gate = tmp_path / "gate"
    here, there, _ = spread_keys(coordinator, redis_cluster)
    moving = coordinator.launch(chain(wait_for_file.s(str(gate)), add.si(1, 1), double.s()), key=here)
    wait_until(lambda: running(coordinator, moving), what="the step to run")

    end_move = redis_cluster.begin_move(coordinator.state_manager.keys.named(moving, "m")[0])
    gate.touch()
    other = coordinator.launch(chain(add.s(1, 2), double.s()), key=there)
    assert coordinator.wait(other, timeout_s=20) == 6
    assert coordinator.status(moving).state == State.PROCESSING
    end_move()

    assert coordinator.wait(moving, timeout_s=60) == 4


def test_jobs_are_seen_when_they_lie_in_a_cluster(coordinator, worker):
    """Checks and alerts, pages of jobs, events, metrics, the dashboard's pages, ``why`` and ``doctor``."""
    receipts = [coordinator.submit("sum_to", {"n": 2 * n}, key=f"sum-{n}") for n in range(6)]
    rejected = coordinator.submit("sum_to", {"n": -3}).id
    assert [coordinator.wait(receipt.id, timeout_s=30) for receipt in receipts] == [0, 2, 12, 30, 56, 90]
    with pytest.raises(JobRejected):
        coordinator.wait(rejected, timeout_s=20)

    found = coordinator.state_manager.page(kind="sum_to", limit=4)
    rest = coordinator.state_manager.page(kind="sum_to", limit=4, cursor=found.next)
    assert [job.id for job in [*found.jobs, *rest.jobs]] == [rejected, *(r.id for r in reversed(receipts))]
    assert [alert["alert"] for alert in coordinator.alerts() if alert["job"] == rejected] == ["rejected"]
    assert [event.event for event in coordinator.events("sum-3")][-1] == "succeeded"
    happened = coordinator.feed(past=True).new(kind="sum_to")
    assert [event.event for event in happened if event.job == "sum-3"][-1] == "succeeded"
    assert coordinator.resolve("sum-4") == "sum-4"
    sample = make_registry(coordinator.state_manager).get_sample_value
    assert sample("batuta_redis_up") == 1
    assert sample("batuta_jobs_total", {"kind": "sum_to", "state": "succeeded"}) == 6
    listed = jobs_page(coordinator, None, "sum_to", "", 10, None)
    assert {job["id"] for job in listed["jobs"]} == {rejected, *(receipt.id for receipt in receipts)}
    assert job_view(coordinator, "sum-5")["job"]["state"] == "succeeded"
    assert coordinator.why("sum-5")[0].code == "succeeded"
    findings = {finding.name: finding for finding in coordinator.findings()}
    assert "3 of them without a replica" in findings["cluster"].found
    assert not [name for name, finding in findings.items() if finding.level == "error" and name != "kinds"]


def test_tasks_outside_jobs_have_results_when_state_is_in_a_cluster(coordinator, worker):
    """A plain call and a plain chord, which Celery's own Redis backend can't keep in a cluster."""
    app = coordinator.app
    assert app.tasks[add.name].delay(1, 2).get(timeout=20) == 3
    header = [app.signature(add.name, (n, n)) for n in range(3)]
    assert chord(header, app=app)(app.signature(total.name)).get(timeout=20) == 6


def test_cluster_says_what_is_wrong_when_it_is_not_reached_as_one(redis_cluster):
    """A node's plain URL, and a wrong password."""
    node = redis_cluster.nodes[0]
    for url, advice in (
        (node.url(), r"redis\+cluster://"),
        (redis_cluster.url().replace(node.password, "wrong"), "password"),
    ):
        state = make_app(Settings(broker_url="amqp://x", redis_url=url)).parts.state
        with pytest.raises(StateUnreachable, match=advice):
            [state.client.exists(key) for key in "abcdef"]
        state.client.close()
