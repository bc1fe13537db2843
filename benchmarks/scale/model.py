"""A cluster in operation: slots, queues, RabbitMQ and Redis, and who waits for whom (simpy).

Every slot does what a real one does, over and over: a delivery, *begin*, the step's code, *finish*, what
follows, the ack. A queue is one Erlang process and a node of Redis one thread; each takes all that waits at
each turn, so a call costs more while there is little to do. ``bounds`` is the operational laws' word on
the same numbers. Invariant: no time is invented here; all of it comes with ``Costs`` and ``Site``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import simpy

#: Steps that are let pass before any is counted, for each slot.
WARM_UP = 3
#: Times are drawn evenly from the mean, less and more this part of it.
SPREAD = 0.5
TICK_S = 1.0


@dataclass(frozen=True)
class Cost:
    """What one call costs a part that takes all that waits at each turn."""

    call_s: float
    turn_s: float = 0.0

    @property
    def lonely_s(self) -> float:
        """The cost of a call that comes alone."""
        return self.call_s + self.turn_s


@dataclass(frozen=True)
class Costs:
    """What one step costs, in CPU seconds."""

    slot_s: float  # the process that runs the step
    redis: Cost  # one call
    queue: Cost  # one visit: a delivery with its ack, or a publish with its confirm
    broker_s: float  # the rest of RabbitMQ: connections, channels
    parent_s: float = 0.0  # a prefork worker's parent
    calls: int = 2  # to Redis: begin, finish, what takes the note off the outbox
    publishes: int = 0  # of what follows
    tick_s: float = 0.0  # Redis' time for one round of a worker's reconciler


@dataclass(frozen=True)
class Site:
    """What the parts run on."""

    workers: int
    slots: int = 1  # of each worker
    cores: int = 0  # one machine's, shared by all parts; 0: enough of them everywhere
    broker_cores: int = 8
    latency_s: float = 0.0  # one way
    body_s: float = 0.0  # the step's own code
    shares: tuple[float, ...] = (1.0,)  # of the jobs, on each node of Redis
    queues: int = 1


@dataclass(frozen=True)
class Outcome:
    """What a site does once it runs evenly."""

    steps_per_s: float
    busy: dict[str, float]  # part -> how much of the time it works (the busiest, where there are several)


@dataclass(frozen=True)
class Bounds:
    """What no schedule can exceed: X <= min(N / (D + Z), 1 / Dmax)."""

    few: float  # N / (D + Z): so many slots, none of which ever waits
    many: float  # 1 / Dmax: the part with the largest demand never rests
    demands: dict[str, float]  # part -> seconds a step

    @property
    def steps_per_s(self) -> float:
        return min(self.few, self.many)


def bounds(costs: Costs, site: Site) -> Bounds:
    """Return the asymptotic bounds of a site."""
    visits = 1 + costs.publishes
    demands = {
        "Redis": costs.calls * costs.redis.call_s * max(site.shares),
        "queue": visits * costs.queue.call_s / site.queues,
        "RabbitMQ": costs.broker_s / site.broker_cores,
        "parents": costs.parent_s / site.workers,
    }
    own = costs.slot_s + costs.parent_s + costs.broker_s
    if site.cores:
        shared = own + visits * costs.queue.call_s + costs.calls * costs.redis.call_s
        demands["cores"] = shared / site.cores
    served = visits * costs.queue.lonely_s + costs.calls * costs.redis.lonely_s
    network = 2 * site.latency_s * (costs.calls + visits)
    few = site.workers * site.slots / (own + served + network + site.body_s)
    return Bounds(few, 1 / max(demands.values()), demands)


class Part:
    """A server of some width: each of its threads does one thing after the other, on a core."""

    def __init__(self, env: simpy.Environment, width: int, cores: simpy.Resource | None) -> None:
        self._env, self._cores = env, cores
        self._line = simpy.Resource(env, width)
        self._width = width
        self.worked_s = 0.0

    def work(self, seconds: float) -> Iterator[Any]:
        with self._line.request() as turn:
            yield turn
            yield from self.compute(seconds)

    def compute(self, seconds: float) -> Iterator[Any]:
        if self._cores is None:
            yield self._env.timeout(seconds)
        else:
            with self._cores.request() as core:
                yield core
                yield self._env.timeout(seconds)
        self.worked_s += seconds / self._width


class Batching(Part):
    """A server of one thread: it pays for each turn, and takes in it all that waits, one by one."""

    def __init__(self, env: simpy.Environment, cores: simpy.Resource | None, turn_s: float) -> None:
        super().__init__(env, 1, cores)
        self._turn_s = turn_s
        self._waiting: list[tuple[float, simpy.Event]] = []
        self._wake = env.event()
        env.process(self._serve())

    def work(self, seconds: float) -> Iterator[Any]:
        done = self._env.event()
        self._waiting.append((seconds, done))
        if not self._wake.triggered:
            self._wake.succeed()
        yield done

    def _serve(self) -> Iterator[Any]:
        while True:
            if not self._waiting:
                self._wake = self._env.event()
                yield self._wake
            batch, self._waiting = self._waiting, []
            if self._turn_s:
                yield from self.compute(self._turn_s)
            for seconds, done in batch:
                yield from self.compute(seconds)
                done.succeed()


class Run:
    """One simulation."""

    def __init__(self, costs: Costs, site: Site, steps: int) -> None:
        self._costs, self._site = costs, site
        self._env = env = simpy.Environment()
        self._chance = random.Random(1)
        self._cores = simpy.Resource(env, site.cores) if site.cores else None
        self._redis = [Batching(env, self._cores, costs.redis.turn_s) for _ in site.shares]
        self._queues = [Batching(env, self._cores, costs.queue.turn_s) for _ in range(site.queues)]
        self._broker = Part(env, site.broker_cores, self._cores)
        self._parents = [Part(env, 1, self._cores) for _ in range(site.workers)]
        self._first = WARM_UP * site.workers * site.slots
        self._last = self._first + steps
        self._done, self._started_s, self._enough = 0, 0.0, env.event()
        for number, parent in enumerate(self._parents):
            env.process(self._tick())
            for _ in range(site.slots):
                env.process(self._slot(parent, self._queues[number % site.queues]))

    def outcome(self) -> Outcome:
        """Run until enough steps were done."""
        self._env.run(until=self._enough)
        seconds = self._env.now - self._started_s
        rate = (self._last - self._first) / seconds
        busy = {
            name: max(part.worked_s for part in parts) / seconds for name, parts in self._shared().items()
        }
        return Outcome(rate, busy)

    def _shared(self) -> dict[str, list[Any]]:
        return {
            "Redis": self._redis,
            "queue": self._queues,
            "RabbitMQ": [self._broker],
            "parents": self._parents,
        }

    def _slot(self, parent: Part, queue: Batching) -> Iterator[Any]:
        costs, site = self._costs, self._site
        slot = Part(self._env, 1, self._cores)
        own_s = costs.slot_s / (1 + costs.calls + costs.publishes)  # between any two waits
        yield self._env.timeout(self._chance.random() * (costs.slot_s + site.body_s))
        while True:
            node = self._chance.choices(self._redis, site.shares)[0]
            yield from self._broker_visit(queue)
            yield from self._compute(parent, costs.parent_s / 2)
            for call in range(costs.calls):
                yield from self._compute(slot, own_s)
                yield from self._ask(node, costs.redis.call_s)
                if call == 0 and site.body_s:
                    yield self._env.timeout(self._drawn(site.body_s))
            for _ in range(costs.publishes):
                yield from self._compute(slot, own_s)
                yield from self._broker_visit(queue)
            yield from self._compute(slot, own_s)
            yield from self._compute(parent, costs.parent_s / 2)
            self._count()

    def _broker_visit(self, queue: Batching) -> Iterator[Any]:
        yield self._env.timeout(self._site.latency_s)
        yield from self._compute(self._broker, self._costs.broker_s / (1 + self._costs.publishes))
        yield from queue.work(self._drawn(self._costs.queue.call_s))
        yield self._env.timeout(self._site.latency_s)

    def _ask(self, node: Batching, seconds: float) -> Iterator[Any]:
        yield self._env.timeout(self._site.latency_s)
        yield from node.work(self._drawn(seconds))
        yield self._env.timeout(self._site.latency_s)

    def _tick(self) -> Iterator[Any]:
        yield self._env.timeout(self._chance.random() * TICK_S)
        while self._costs.tick_s:
            yield from self._redis[0].work(self._costs.tick_s)
            yield self._env.timeout(TICK_S)

    def _compute(self, part: Part, seconds: float) -> Iterator[Any]:
        if seconds:
            yield from part.work(self._drawn(seconds))

    def _drawn(self, seconds: float) -> float:
        return seconds * self._chance.uniform(1 - SPREAD, 1 + SPREAD)

    def _count(self) -> None:
        self._done += 1
        if self._done == self._first:
            self._started_s = self._env.now
            for parts in self._shared().values():
                for part in parts:
                    part.worked_s = 0.0
        elif self._done == self._last:
            self._enough.succeed()


def simulate(costs: Costs, site: Site, steps: int = 4000) -> Outcome:
    """Run the model until it has done so many steps evenly."""
    return Run(costs, site, steps).outcome()
