"""Quorum queues: chains, chords, retries and kills, as on classic ones."""

from __future__ import annotations

import itertools

import pytest
from celery import chain, chord

from coordinator.states import StepState
from tests.conftest import Services
from tests.flows import add, double, flaky, mark, total, wait_for_file
from tests.waiting import wait_until, write_whole

pytestmark = pytest.mark.brokers("rabbitmq")


@pytest.fixture
def services(services: Services) -> Services:
    services.env["COORDINATOR_QUEUE_TYPE"] = "quorum"
    return services


def queue_type(rabbitmq, name: str) -> str:
    rows = [line.split() for line in rabbitmq.ctl("list_queues", "name", "type").splitlines()]
    return next(row[1] for row in rows if row[0] == name)


def test_chain_with_a_chord_completes_when_its_queue_is_a_quorum_queue(coordinator, start_worker, rabbitmq):
    """The value is the same, and the queue is what was asked for."""
    start_worker()
    canvas = chain(add.s(1, 2), chord([add.s(10), double.s(), add.s(1)], total.s()), double.s())

    assert coordinator.wait(coordinator.launch(canvas), timeout_s=20) == 2 * (13 + 6 + 4)
    assert queue_type(rabbitmq, coordinator.settings.queue) == "quorum"


def test_retry_waits_and_runs_when_its_queue_is_a_quorum_queue(coordinator, start_worker, tmp_path):
    """The waiting is in Redis: no ETA message, which quorum queues can't delay."""
    start_worker()
    path = tmp_path / "runs"

    job = coordinator.launch(chain(flaky.si(str(path), 2, 0.5), double.s()))

    assert coordinator.wait(job, timeout_s=20) == 2 * 3
    times = [float(line.split()[1]) for line in path.read_text().splitlines()]
    assert len(times) == 3 and all(later - sooner >= 0.5 for sooner, later in itertools.pairwise(times))


def test_step_is_taken_over_when_the_worker_is_killed_on_a_quorum_queue(coordinator, start_worker, tmp_path):
    """A whole worker dies in mid-step; another goes on, and what was recorded is not run again."""
    victim = start_worker()
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    job = coordinator.launch(chain(mark.si(1, str(runs)), wait_for_file.si(str(gate)), mark.s(str(runs))))
    wait_until(lambda: coordinator.steps(job)[1].state == StepState.RUNNING, what="the step to run")

    victim.kill()
    write_whole(gate, "done")
    start_worker()

    assert coordinator.wait(job, timeout_s=30) == "done"
    assert runs.read_text().split() == ["1", "done"]


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_jobs_complete_when_rabbitmq_is_restarted_under_quorum_queues(
    kill, coordinator, start_worker, rabbitmq, tmp_path
):
    """A broker that goes and comes back with its data: nothing is lost, nothing is recorded twice.

    A single node of RabbitMQ 3.10 that is killed outright can leave its quorum queues without a leader for
    good (rabbitmq-server issue 10070), whatever its clients do; electing one is what docs/guarantees.md says.
    """
    start_worker()
    runs = str(tmp_path / "runs")
    jobs = [
        coordinator.launch(chain(mark.si(n, runs), chord([double.s(), add.s(n)], total.s()), mark.s(runs)))
        for n in range(10)
    ]

    rabbitmq.restart(kill=kill)
    if kill:
        rabbitmq.ctl("eval", f"ra:trigger_election({{'%2F_{coordinator.settings.queue}', node()}}).")

    for number, job in enumerate(jobs):
        assert coordinator.wait(job, timeout_s=60) == 4 * number
