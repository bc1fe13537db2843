"""From what was measured to what the model is given, and to what it then says. Pure.

A figure is that of the round, of those that are kept, in which a step took the least CPU: what disturbs only
adds. What a part costs while it has all it can do comes from ``alone``; what it costs more while there is
little to do is its turn (``model.Cost``).
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from functools import cached_property
from typing import Any

from benchmarks.scale.measure import IDLE_S
from benchmarks.scale.model import Cost, Costs, Outcome, Site, bounds, simulate
from benchmarks.scale.shapes import SHAPES

#: Calls to Redis, and publishes, of one step: tests/integration/test_counts.py counts them.
PARTS = ("parent", "children", "redis", "rabbitmq")
JOIN, HOP, NAP = "join", "hop", "nap"
CALLS = {JOIN: (2, 0), HOP: (3, 1), NAP: (2, 0)}
NAP_S = 0.01  # benchmarks.noop_tasks.nap
#: Each measured shape by the one whose costs it is predicted from, and as the model has it.
CHECKED = {
    "one solo": ("one solo", Site(1)),
    "two solo": ("one solo", Site(2)),
    "four solo": ("one solo", Site(4)),
    "prefork -c 1": ("prefork -c 1", Site(1, slots=1)),
    "prefork -c 2": ("prefork -c 1", Site(1, slots=2)),
}
HOSTS = (1, 2, 4, 8, 16, 32, 64)
SLOTS_A_HOST = 4
BODIES_S = (0.0, 0.01, 0.1, 1.0)
#: A network of 0.1 ms one way, RabbitMQ on 8 cores, and 4 single-slot workers a host, each with a core.
LAN = Site(SLOTS_A_HOST, latency_s=0.0001, broker_cores=8)
#: The 16 shards on three nodes.
THIRDS = (6 / 16, 6 / 16, 4 / 16)
STEPS = 3000


class Figures:
    """What is kept, by the names of shapes and windows."""

    def __init__(self, kept: dict[str, list[dict[str, Any]]]) -> None:
        self._kept = kept

    def each(self, shape: str, window: str, part: str) -> float:
        """Return the CPU seconds that one step (job, message) took of a part; "" is a whole run."""
        found = self._best(shape, window)
        return found[part] / found["count"]

    def rate(self, shape: str, window: str = "") -> float:
        """Return steps (messages) a second."""
        found = self._best(shape, window)
        return found["count"] / found["seconds"]

    def queue_share(self, shape: str) -> float:
        return statistics.median(run["queue_share"] for run in self._kept[shape])

    @cached_property
    def redis_busy_ratio(self) -> float:
        """How much of its cost a call to Redis has left when there is all that Redis can do."""
        return self.each("Redis alone", "", "redis") / self.each("one solo", JOIN, "redis")

    def queue_busy_ratio(self, shape: str) -> float:
        """The same for a delivery and its ack, by the queue's process."""
        kind = "quorum" if "quorum" in shape else "classic"
        alone = 1 / self.rate(f"{kind} queue alone")
        source = "one solo, quorum queue" if kind == "quorum" else "one solo"
        return min(1.0, alone / (self.each(source, JOIN, "rabbitmq") * self.queue_share(source)))

    @cached_property
    def tick_s(self) -> float:
        """Redis' time for what one more idle worker asks in a second."""
        four, one = (self._best(shape, "idle")["redis"] for shape in ("four solo", "one solo"))
        return max(0.0, (four - one) / 3 / IDLE_S)

    def costs(self, shape: str, workload: str, *, with_publish: bool = True) -> Costs:
        """Return what a step costs; ``with_publish``: its message's way into the queue too."""
        calls, publishes = CALLS[workload]
        broker = self.each(shape, workload, "rabbitmq")
        if with_publish and workload == JOIN:
            broker += self.each(shape, "publish", "rabbitmq")
        share = self.queue_share(shape)
        is_prefork = shape.startswith("prefork")
        return Costs(
            slot_s=self.each(shape, workload, "children" if is_prefork else "parent"),
            parent_s=self.each(shape, workload, "parent") if is_prefork else 0.0,
            redis=_shared(self.each(shape, workload, "redis") / calls, self.redis_busy_ratio),
            queue=_shared(broker * share / (1 + publishes), self.queue_busy_ratio(shape)),
            broker_s=broker * (1 - share),
            calls=calls,
            publishes=publishes,
            tick_s=self.tick_s,
        )

    def _best(self, shape: str, window: str) -> dict[str, float]:
        windows = [run[window] if window else run for run in self._kept[shape] if window in run or not window]
        return min(windows, key=lambda found: sum(found[part] for part in PARTS) / found["count"])


def _shared(lonely_s: float, ratio: float) -> Cost:
    return Cost(call_s=lonely_s * ratio, turn_s=lonely_s * (1 - ratio))


def checked(figures: Figures) -> list[tuple[str, str, float, float, float]]:
    """Return shape, workload, and steps/s on two cores: measured, and by the model.

    The model is given the costs of one slot, and those of the very run that it is compared with.
    """
    rows = []
    for shape, (source, site) in CHECKED.items():
        assert site.workers == len(SHAPES[shape])
        for workload in CALLS:
            here = replace(site, cores=2, broker_cores=2, body_s=NAP_S if workload == NAP else 0.0)
            foretold, own = (
                simulate(figures.costs(costs, workload, with_publish=False), here, STEPS).steps_per_s
                for costs in (source, shape)
            )
            rows.append((shape, workload, figures.rate(shape, workload), foretold, own))
    return rows


def by_hosts(figures: Figures) -> dict[float, dict[int, Outcome]]:
    """Return what hosts do with one Redis and one queue: body (s) -> hosts -> outcome."""
    costs = figures.costs("one solo", JOIN)
    return {
        body: {
            hosts: simulate(costs, replace(LAN, workers=hosts * SLOTS_A_HOST, body_s=body), STEPS)
            for hosts in HOSTS
        }
        for body in BODIES_S
    }


def compared(figures: Figures) -> dict[str, tuple[Costs, Site]]:
    """Return what is compared: one of each, and what more queues and more nodes of Redis change."""
    one = figures.costs("one solo", JOIN)
    quorum = figures.costs("one solo, quorum queue", JOIN)
    clustered = replace(one, slot_s=figures.costs("one solo, Redis Cluster", JOIN).slot_s)
    return {
        "one classic queue, one Redis": (one, LAN),
        "one quorum queue (one member)": (quorum, LAN),
        "three nodes of Redis": (clustered, replace(LAN, shares=THIRDS)),
        "four queues": (one, replace(LAN, queues=4)),
        "four queues, three nodes": (clustered, replace(LAN, queues=4, shares=THIRDS)),
    }


def limits(figures: Figures, workload: str) -> dict[str, float]:
    """Return the steps/s at which each part has no more to give."""
    one, quorum = (figures.costs(shape, workload) for shape in ("one solo", "one solo, quorum queue"))
    most = {part: 1 / demand for part, demand in bounds(one, LAN).demands.items() if demand}
    return {
        "one core of a single-slot worker": 1 / one.slot_s,
        "one prefork worker's parent": 1 / figures.costs("prefork -c 2", workload).parent_s,
        "one classic queue": most["queue"],
        "one quorum queue (one member)": 1 / bounds(quorum, LAN).demands["queue"],
        "four classic queues": most["queue"] * 4,
        "RabbitMQ on 8 cores": 8 / (one.broker_s + (1 + one.publishes) * one.queue.call_s),
        "one Redis": most["Redis"],
        "a Redis Cluster of three nodes": most["Redis"] / max(THIRDS),
    }


def jobs(figures: Figures) -> dict[str, dict[str, float]]:
    """Return the jobs/s at which the queue, and Redis, have no more to give: job -> part -> jobs/s."""
    first, part, hop = (
        bounds(figures.costs("one solo", workload, with_publish=publish), LAN).demands
        for workload, publish in ((JOIN, False), (JOIN, True), (HOP, True))
    )
    submit = {
        "queue": figures.each("one solo", "submit", "rabbitmq")
        * figures.queue_share("one solo")
        * figures.queue_busy_ratio("one solo"),
        "Redis": figures.each("one solo", "submit", "redis") * figures.redis_busy_ratio,
    }
    return {
        name: {of: 1 / (submit[of] + first[of] + parts * part[of] + hops * hop[of]) for of in submit}
        for name, (parts, hops) in {
            "one step": (0, 0),
            "a chain of 10": (0, 9),
            "a fan-out of 100 and its join": (100, 0),
        }.items()
    }
