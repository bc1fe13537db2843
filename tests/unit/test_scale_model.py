"""The model behind docs/explanation/scale.md obeys what holds for every system of queues."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.scale.model import Cost, Costs, Site, bounds, simulate

#: Near what was measured, without the part of a call that others share, so that each demand is one number.
PLAIN = Costs(slot_s=900e-6, redis=Cost(40e-6), queue=Cost(200e-6), broker_s=60e-6)
SHARED = replace(PLAIN, redis=Cost(40e-6, turn_s=40e-6), queue=Cost(120e-6, turn_s=80e-6))
HOPS = replace(SHARED, calls=3, publishes=1)
STEPS = 800


@pytest.mark.parametrize("workers", [1, 6, 40])
def test_part_is_busy_for_its_demand_times_the_throughput(workers: int) -> None:
    """The utilization law: no part works more, or less, than the steps that went through cost."""
    site = Site(workers, latency_s=1e-4, broker_cores=2)
    outcome, demands = simulate(PLAIN, site, STEPS), bounds(PLAIN, site).demands
    for part in ("Redis", "queue", "RabbitMQ"):
        assert outcome.busy[part] == pytest.approx(outcome.steps_per_s * demands[part], rel=0.04)


@pytest.mark.parametrize("costs", [PLAIN, SHARED, HOPS])
@pytest.mark.parametrize("workers", [1, 24, 96])
def test_throughput_stays_within_the_asymptotic_bounds(costs: Costs, workers: int) -> None:
    """X <= min(N / (D + Z), 1 / Dmax), for any number of slots."""
    site = Site(workers, latency_s=1e-4, body_s=0.001)
    assert simulate(costs, site, STEPS).steps_per_s <= bounds(costs, site).steps_per_s * 1.03


def test_throughput_meets_the_bounds_when_nobody_waits_and_when_all_do() -> None:
    """One slot takes as long as its parts do; very many take what the busiest part gives."""
    for workers in (1, 96):
        site = Site(workers, latency_s=1e-4)
        assert simulate(SHARED, site, STEPS).steps_per_s == pytest.approx(
            bounds(SHARED, site).steps_per_s, rel=0.04
        )


def test_machine_gives_no_more_than_its_cores_when_all_parts_share_it() -> None:
    """Four slots on two cores do what two cores can: the check against the measured runs rests on it."""
    site = Site(4, cores=2, broker_cores=2)
    outcome = simulate(PLAIN, site, STEPS)
    assert bounds(PLAIN, site).many == pytest.approx(2 / (900e-6 + 80e-6 + 200e-6 + 60e-6))
    assert 0.85 < outcome.steps_per_s / bounds(PLAIN, site).many <= 1.03


def test_cluster_gives_what_its_fullest_node_does_when_redis_is_the_limit() -> None:
    """Three nodes with 6, 6 and 4 of 16 shards are 16/6 of one node, not three."""
    slow = replace(PLAIN, redis=Cost(300e-6))
    one, three = (Site(96, shares=shares) for shares in ((1.0,), (6 / 16, 6 / 16, 4 / 16)))
    gain = simulate(slow, three, STEPS).steps_per_s / simulate(slow, one, STEPS).steps_per_s
    assert gain == pytest.approx(16 / 6, rel=0.07)
