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
from tests.faults.conftest import SEED, STORMS
from tests.faults.shapes import runs
from tests.flows import mark, total
from tests.waiting import wait_until

#: Steps of one job: one, then four in parallel, then their sum, then one.
STEPS = 7


def canvas(path: str, number: int):
    def one(part: str):
        return mark.si(f"{number}{part}", path)

    return chain(one("a"), group(one(part) for part in "bcde"), total_of_lengths(), mark.s(path))


def total_of_lengths():
    return total.si([1, 2, 3, 4])


class Chaos:
    """Kills a part at random, and starts it again where nothing else would."""

    def __init__(self, rng: random.Random, workers: list[Any], servers: dict[str, Any]) -> None:
        self._rng = rng
        self._workers = workers
        self._servers = servers
        self.kills: Counter[str] = Counter()

    def most_held(self) -> int:
        """Return how many steps the kills can have ended: those that the workers' four children were in."""
        return 4 * self.kills.total()

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
    victims, coordinator, start_worker, services, rabbitmq, redis_server, tmp_path, request
):
    """All complete, none twice; how many messages the reconciler sent is printed."""
    jobs = 1000 if request.config.getoption("--every-point") else 40
    env = {"COORDINATOR_JOBS": "tests.flows"}
    servers = {} if victims == "workers" else {"rabbitmq": rabbitmq, "redis": redis_server}
    chaos = Chaos(random.Random(SEED), [start_worker(env=env), start_worker(env=env)], servers)
    path = tmp_path / "runs"
    started = time.monotonic()
    for number in range(jobs):
        submit(coordinator, canvas(str(path), number), f"storm-{number}")
        if number % max(1, jobs // 40) == 0:
            chaos.kill()
    launched = [f"storm-{number}" for number in range(jobs)]
    for job in launched:
        state = wait_until(lambda job=job: ended(coordinator, job), timeout_s=120, what=f"{job} to end")
        assert state == State.SUCCEEDED, (job, coordinator.status(job).error)
    took_s = time.monotonic() - started

    for job in launched:
        status = coordinator.status(job)
        assert (status.steps_done, status.steps_total) == (STEPS, STEPS)
        assert coordinator.result(job) == 10
    redriven, lost = map(sum, zip(*(messages_redriven(coordinator, job) for job in launched), strict=True))
    again = sum(count - 1 for line, count in Counter(runs(path)).items() if line != "10")
    STORMS.append(
        f"{victims}: {jobs} jobs, {jobs * STEPS} steps in {took_s:.0f} s; killed {dict(chaos.kills)}; "
        f"steps whose code ran again {again}; "
        f"messages of the reconciler {redriven} ({redriven / (jobs * STEPS):.1%}), "
        f"{lost} of them for messages that were lost"
    )
    if not servers:  # RabbitMQ delivered everything: what is sent again was in a killed worker's hands
        assert lost == 0
        assert redriven <= max(chaos.most_held(), jobs * STEPS / 100)
    assert again <= chaos.most_held()
    assert len(runs(path)) - again >= 6 * jobs


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
    counts = [(int(re.search(r"\d+", detail).group()), "lost" in detail) for detail in details]
    return sum(count for count, _ in counts), sum(count for count, is_lost in counts if is_lost)


def ended(coordinator, job: str) -> State | None:
    try:
        state = coordinator.status(job).state
    except BatutaError:  # Redis is on its way back
        return None
    return state if state.is_terminal else None
