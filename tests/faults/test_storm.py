"""Many jobs while children, workers, RabbitMQ and Redis die at random, by a seed that is printed."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from typing import Any

import pytest
from celery import chain, group

from coordinator.errors import BatutaError
from coordinator.states import State
from tests.faults.figures import SEED, STORM, tell
from tests.faults.lane import results_recorded
from tests.faults.shapes import runs
from tests.flows import joined, mark
from tests.waiting import wait_until

#: Steps of one job: one, then four in parallel, then all their texts in one, then one that writes that down.
STEPS = 7
PARTS = "bcde"
#: Spread over the submits.
KILLS = 40
#: A killed part held so many steps at most: a child 1, a worker its 2 children's, a server all 4.
HELD = {"child": 1, "worker": 2, "rabbitmq": 4, "redis": 4}


def canvas(path: str, number: int) -> Any:
    def one(part: str) -> Any:
        return mark.si(f"{number}{part}", path)

    return chain(one("a"), group(one(part) for part in PARTS), joined.s(), mark.s(path))


def value_of(number: int) -> str:
    return "".join(f"{number}{part}" for part in PARTS)


def lines_of(number: int) -> set[str]:
    """Return what the steps of a job write, each its own line."""
    return {*(f"{number}{part}" for part in f"a{PARTS}"), value_of(number)}


class Chaos:
    """Kills a part at random, and starts it again where nothing else would."""

    def __init__(self, rng: random.Random, workers: list[Any], servers: dict[str, Any]) -> None:
        self._rng = rng
        self._workers = workers
        self._servers = servers
        self.kills: Counter[str] = Counter()

    def most_held(self) -> int:
        """Return how many steps the kills can have ended."""
        return sum(HELD[victim] * count for victim, count in self.kills.items())

    def kill(self) -> None:
        victim = self._rng.choice(["child", "child", "child", "worker", *self._servers])
        self.kills[victim] += 1
        worker = self._rng.choice(self._workers)
        if victim in self._servers:
            self._servers[victim].restart()
        elif victim == "worker":
            worker.kill()
            worker.start()
        elif worker.process.is_alive() and worker.children():
            worker.kill_child(self._rng.choice(worker.children()))


@pytest.mark.parametrize("victims", ["workers", "workers and servers"])
@pytest.mark.brokers("rabbitmq")
def test_every_job_completes_once_in_a_storm(
    victims, coordinator, start_worker, rabbitmq, redis_server, tmp_path, request
):
    """All complete, none recorded twice; how many messages the reconciler sent is told."""
    jobs = how_many(request.config)
    env = {"COORDINATOR_JOBS": "tests.flows"}
    servers = {} if victims == "workers" else {"rabbitmq": rabbitmq, "redis": redis_server}
    chaos = Chaos(random.Random(SEED), [start_worker(env=env), start_worker(env=env)], servers)
    path = tmp_path / "runs"
    started = time.monotonic()
    launched = [f"storm-{number}" for number in range(jobs)]
    for number, job in enumerate(launched):
        submit(coordinator, canvas(str(path), number), job)
        if number % max(1, jobs // KILLS) == 0:
            chaos.kill()
    for number, job in enumerate(launched):
        state = wait_until(lambda job=job: ended(coordinator, job), timeout_s=120, what=f"{job} to end")
        assert state == State.SUCCEEDED, (job, coordinator.status(job).error)
        assert coordinator.result(job) == value_of(number)
    took_s = time.monotonic() - started

    assert all(coordinator.status(job).steps_done == STEPS for job in launched)
    messages, recorded = jobs * STEPS, results_recorded(coordinator.state_manager)
    redriven, lost = map(sum, zip(*(messages_redriven(coordinator, job) for job in launched), strict=True))
    ran = Counter(runs(path))
    again = ran.total() - len(ran)
    tell(
        STORM,
        f"{victims}: {jobs} jobs, {messages} steps in {took_s:.0f} s; killed {dict(chaos.kills)}; "
        f"{recorded} results recorded; steps whose code ran again {again}; "
        f"messages of the reconciler {redriven} ({redriven / messages:.1%}), "
        f"{lost} of them for messages that were lost",
    )
    assert set(ran) == set().union(*map(lines_of, range(jobs)))
    assert recorded == messages, "a result was recorded twice, or not at all"
    assert again <= chaos.most_held()
    if not servers:  # RabbitMQ delivered everything
        # What a child was killed with, not begun, is sent again before its parent misses the child.
        assert lost <= chaos.kills["child"]
        assert redriven <= (messages / 100 if jobs >= 1000 else chaos.most_held() * len(PARTS))


def how_many(config: pytest.Config) -> int:
    """Return how many jobs: 1,000 where all is asked for, or as many as are named."""
    return config.getoption("--storm-jobs") or (1000 if config.getoption("--every-point") else 40)


def submit(coordinator, canvas: Any, key: str) -> None:
    """Submit until it is taken: the key makes one job of all tries."""

    def taken() -> bool:
        try:
            return coordinator.launch(canvas, key=key) is not None
        except BatutaError:
            return False

    wait_until(taken, timeout_s=60, what="the submit to be taken")


def messages_redriven(coordinator, job: str) -> tuple[int, int]:
    """Return how many messages of a job the reconciler sent, and how many of them for lost ones."""
    details = [event.detail for event in coordinator.events(job) if event.event == "redriven"]
    counts = [
        (int(re.search(r"[\d,]+", detail).group().replace(",", "")), "lost" in detail) for detail in details
    ]
    return sum(count for count, _ in counts), sum(count for count, is_lost in counts if is_lost)


def ended(coordinator, job: str) -> State | None:
    try:
        state = coordinator.status(job).state
    except BatutaError:  # Redis is on its way back
        return None
    return state if state.is_terminal else None
