"""What the crash tests share: which points to try, the board, and a coordinator.

``--every-point`` tries all; without it a seeded sample is tried, and the seed is printed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordinator import Coordinator
from coordinator.settings import Settings
from tests.conftest import Services, make_services
from tests.facade import opened
from tests.faults.figures import SAMPLE, SEED, pytest_terminal_summary
from tests.faults.interleaved.interleaving import Interleaving
from tests.servers import Redis

__all__ = ["pytest_terminal_summary"]  # a hook


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes, unless all is asked for."""
    if not config.getoption("--every-point"):
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture
def services(services: Services) -> Services:
    services.env["COORDINATOR_JOBS"] = "tests.faults.crash_points,tests.flows"
    return services


@pytest.fixture
def coordinator(services: Services) -> Iterator[Coordinator]:
    """A façade in this process, on its own Celery app; crash points are never installed here."""
    env = {**services.env, "COORDINATOR_JOBS": "tests.flows"}
    with opened(env) as facade:
        yield facade


@pytest.fixture
def board_path(tmp_path: Path) -> Path:
    return tmp_path / "board"


def points_to_try(count: int, *, every: bool) -> list[tuple[int, int]]:
    """Return (call, before or after) pairs: all of them, or a seeded sample."""
    points = [(call, when) for call in range(1, count + 1) for when in (0, 1)]
    return points if every else sorted(random.Random(SEED).sample(points, min(SAMPLE, len(points))))


@pytest.fixture
def play(redis_server: Redis) -> Callable[[int], Interleaving]:
    """Play one random job, on processes that take turns at random, by its seed: see ``interleaved``."""

    def play(seed: int) -> Interleaving:
        env = make_services("redis", redis_server.url(0), redis_server.url(1)).env
        # What runs out here does so when the course wants it.
        interleaving = Interleaving(Settings.from_env({**env, "COORDINATOR_LEASE_S": "1000"}), seed)
        interleaving.play()
        return interleaving

    return play
