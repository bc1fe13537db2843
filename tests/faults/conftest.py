"""What the crash tests share: which points to try, the board, and a coordinator.

``--every-point`` tries all; without it a seeded sample is tried, and the seed is printed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator import Coordinator
from tests.conftest import Services
from tests.facade import opened
from tests.faults.ledger import HEADS, Case, Tried, summary

SEED = int(os.environ.get("FAULT_SEED") or random.randrange(10**6))
SAMPLE = int(os.environ.get("FAULT_SAMPLE") or 4)
CRASHED: list[Tried] = []  # what came of the crash points
LEFT: list[Case] = []  # cases that time was too short for
STORMS: list[str] = []  # a line for each storm
NOTES: list[str] = []  # lines under the table: comparison, hosts
TALLY: dict[tuple[str, str], dict[str, int]] = {}


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


def new_tally(points: int) -> dict[str, int]:
    """Return a row of the table, before anything was tried."""
    return {"points": points, "tried": 0, "hung": 0, "twice": 0, "wrong": 0, "again": 0}


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
    if CRASHED or TALLY:
        terminalreporter.section(f"crash points (seed {SEED})")
        _print_table(terminalreporter)
    if NOTES:
        terminalreporter.section("comparison and hosts")
    for line in NOTES:
        terminalreporter.write_line(line)


def _print_table(terminalreporter: pytest.TerminalReporter) -> None:
    row = "{:<44}{:<12}" + "{:>16}" * (len(HEADS) - 2)
    terminalreporter.write_line(row.format(*HEADS))
    for case in dict.fromkeys(tried.case for tried in CRASHED):
        name = case.shape if case.kind == "rabbitmq" else f"{case.shape} ({case.kind})"
        cells = summary(tried for tried in CRASHED if tried.case == case)
        terminalreporter.write_line(row.format(name, case.victim, *cells))
    if CRASHED:
        terminalreporter.write_line(row.format("all", "", *summary(CRASHED)))
    for (shape, victim), tally in TALLY.items():
        cells = (tally["tried"], tally["hung"], tally["twice"], tally["wrong"], tally["again"])
        terminalreporter.write_line(row.format(shape, victim, *cells))
    if LEFT:
        terminalreporter.write_line(f"{len(LEFT)} cases are not done: run the same again to go on")
