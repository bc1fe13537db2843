"""What a job costs, counted, not timed: Redis commands, messages, bytes. To change these is a decision."""

from __future__ import annotations

import pytest
from celery import chain, group
from kombu.utils.json import dumps

from coordinator.dispatcher import HEADER
from tests.conftest import Services
from tests.flows import add, double, total
from tests.waiting import wait_until


@pytest.fixture
def services(services: Services) -> Services:
    services.env.update(
        COORDINATOR_JOBS="tests.flows", COORDINATOR_TICK_S="600"
    )  # no reconciler in the count
    return services


def commands(coordinator) -> dict[str, int]:
    """Return how often each Redis command was called since the last reset."""
    stats = coordinator.state_manager.client.info("commandstats")
    return {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()}


def round_trips(coordinator, canvas) -> dict[str, int]:
    """Run a canvas on warm workers; return the commands that its submit and its workers sent."""
    client = coordinator.state_manager.client
    client.config_resetstat()
    job = coordinator.launch(canvas)
    wait_until(
        lambda: client.hget(coordinator.state_manager.keys.named(job, "m")[0], "finished"), what="the end"
    )
    counted = commands(coordinator)
    # What only scripts call is no round trip; the test itself asks for "finished".
    return {
        name: counted.get(name, 0) for name in ("evalsha", "eval", "get", "hgetall", "hkeys", "hmget", "zrem")
    }


@pytest.mark.brokers("rabbitmq")
def test_submit_costs_two_scripts_when_the_broker_takes_its_first_steps(coordinator):
    """Recorded, sent, taken off the outbox: nothing is read back of what was just written."""
    coordinator.launch(add.s(1, 1))  # loads the script
    client = coordinator.state_manager.client
    client.config_resetstat()

    coordinator.launch(chain(group(add.s(n, n) for n in range(10)), total.s()))

    counted = commands(coordinator)
    assert (counted["evalsha"], counted.get("get", 0)) == (2, 0)


@pytest.mark.brokers("rabbitmq")
def test_steps_cost_two_scripts_each_when_they_lead_to_a_join(coordinator, start_worker):
    """A part of a header: begin and finish, and nothing else."""
    start_worker(concurrency=1)
    coordinator.wait(coordinator.launch(chain(group(add.s(1, 1), add.s(1, 2)), total.s(), double.s())), 20)

    few = round_trips(coordinator, chain(group(add.s(n, n) for n in range(10)), total.s()))
    many = round_trips(coordinator, chain(group(add.s(n, n) for n in range(60)), total.s()))

    assert many["evalsha"] - few["evalsha"] == 2 * 50
    assert few["evalsha"] == 2 + 2 * 11 + 1, (
        "submit, begin and finish of each step, two entries off the outbox"
    )
    assert many["eval"] == few["eval"] == 0


@pytest.mark.brokers("rabbitmq")
def test_hop_of_a_chain_costs_three_scripts(coordinator, start_worker):
    """From one step to the next: begin, finish, publish, and taking it off the outbox."""
    start_worker(concurrency=1)
    coordinator.wait(coordinator.launch(chain(add.s(1, 1), double.s())), 20)

    short = round_trips(coordinator, chain(add.s(1, 1), *[double.s() for _ in range(4)]))
    long = round_trips(coordinator, chain(add.s(1, 1), *[double.s() for _ in range(24)]))

    assert long["evalsha"] - short["evalsha"] == 3 * 20
    assert long["get"] - short["get"] <= 1


def test_messages_stay_small_however_large_the_job_is(coordinator):
    """A message carries one step: under 2 KB in a header of thousands and in a long chain."""
    queue = coordinator.app.amqp.queues[coordinator.settings.queue]
    coordinator.launch(chain(group(add.s(n, n) for n in range(2000)), total.s()))
    coordinator.launch(chain(add.s(1, 1), *[double.s() for _ in range(99)]))
    with coordinator.app.connection_for_write() as connection:
        bound = queue(connection.default_channel)
        sizes = []
        while message := bound.get(no_ack=True):
            sizes.append(len(message.body) + len(dumps(message.headers)))
            assert HEADER in message.headers

    assert len(sizes) == 2001
    assert max(sizes) < 2048


@pytest.mark.brokers("rabbitmq")
def test_finished_step_takes_under_250_bytes_when_all_keys_are_counted(coordinator, start_worker):
    """Plan, journal and everything else that stays of a job with steps that return an integer."""
    start_worker()
    job = coordinator.launch(group(add.s(n, n) for n in range(2000)))
    coordinator.wait(job, timeout_s=60)
    state = coordinator.state_manager

    keys = [key for key in state.client.scan_iter(f"{state.keys.prefix}:*") if job.encode() in key]
    used = sum(state.client.memory_usage(key, samples=0) for key in keys)

    assert used / 2000 < 250
