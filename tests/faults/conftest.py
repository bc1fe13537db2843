"""What the crash tests share: which points to try, the board, and a coordinator.

``--every-point`` tries all; without it a seeded sample is tried, and the seed is printed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator import Coordinator, Settings
from coordinator.app import make_app
from tests.conftest import Services

SEED = int(os.environ.get("FAULT_SEED") or random.randrange(10**6))
SAMPLE = int(os.environ.get("FAULT_SAMPLE") or 4)
STORMS: list[str] = []  # a line for each storm
NOTES: list[str] = []  # lines under the table: comparison, hosts
TALLY: dict[tuple[str, str], dict[str, int]] = {}


@pytest.fixture
def services(services: Services) -> Services:
    services.env["COORDINATOR_JOBS"] = "tests.faults.crash_points,tests.flows"
    return services


@pytest.fixture
def coordinator(services: Services) -> Iterator[Coordinator]:
    """A façade in this process, on its own Celery app; crash points are never installed here."""
    env = {**services.env, "COORDINATOR_JOBS": "tests.flows"}
    app = make_app(Settings.from_env(env))
    yield Coordinator.from_settings(app.parts.settings, app)
    app.parts.state.client.close()
    app.parts.dispatcher.close()
    app.close()


@pytest.fixture
def board_path(tmp_path: Path) -> Path:
    return tmp_path / "board"


def new_tally(points: int) -> dict[str, int]:
    """Return a row of the table, before anything was tried."""
    return {"points": points, "tried": 0, "hung": 0, "twice": 0, "again": 0}


def points_to_try(count: int, *, every: bool) -> list[tuple[int, int]]:
    """Return (call, before or after) pairs: all of them, or a seeded sample."""
    points = [(call, when) for call in range(1, count + 1) for when in (0, 1)]
    return points if every else sorted(random.Random(SEED).sample(points, min(SAMPLE, len(points))))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table: shape by victim, points tried, hung, recorded twice."""
    if STORMS:
        terminalreporter.section(f"storms (seed {SEED})")
        for line in STORMS:
            terminalreporter.write_line(line)
    if not TALLY:
        _print_notes(terminalreporter)
        return
    terminalreporter.section(f"crash points (seed {SEED})")
    row = "{:<28}{:<14}{:>8}{:>8}{:>8}{:>16}{:>12}"
    terminalreporter.write_line(
        row.format("shape", "victim", "points", "tried", "hung", "recorded twice", "run again")
    )
    for (shape, victim), cell in TALLY.items():
        terminalreporter.write_line(
            row.format(
                shape, victim, cell["points"], cell["tried"], cell["hung"], cell["twice"], cell["again"]
            )
        )
    _print_notes(terminalreporter)


def _print_notes(terminalreporter: pytest.TerminalReporter) -> None:
    if NOTES:
        terminalreporter.section("comparison and hosts")
    for line in NOTES:
        terminalreporter.write_line(line)
