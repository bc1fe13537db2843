"""What a run of the fault tests found, gathered while it goes and printed once, at its end.

Owns the summary: the table of crash points with plain Celery's row, then the figures by topic. A
topic of which nothing is known says so where all was asked for (``--every-point``).
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.faults.crash_points import VICTIMS
from tests.faults.ledger import HEADS, Case, Tried, cells

SEED = int(os.environ.get("FAULT_SEED") or random.randrange(10**6))
SAMPLE = int(os.environ.get("FAULT_SAMPLE") or 4)

POWER, PLAIN = "workers broken on purpose", "plain Celery, the same kills"
INTERLEAVED = "random jobs, random turns"
STORM, LOSS, BACKLOG = "storms", "loss, and what it took to the redrive", "long backlogs"
HOSTS, INPUT = "several hosts, links cut", "bad input"
TOPICS = (POWER, PLAIN, INTERLEAVED, STORM, LOSS, BACKLOG, HOSTS, INPUT)

CRASHED: list[Tried] = []  # what came of the crash points
LEFT: list[Case] = []  # cases that time was too short for
TALLY: dict[tuple[str, str], Counter[str]] = {}  # plain Celery: shape, victim -> figures by name
LINES: list[tuple[str, str]] = []  # topic, line


def tell(topic: str, line: str) -> None:
    """Keep a line for the summary, under one of ``TOPICS``."""
    LINES.append((topic, line))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print all figures in one section."""
    if not (CRASHED or TALLY or LINES):
        return
    terminalreporter.section(f"faults: what came of them (seed {SEED})")
    for line in [*_table(), *_by_topic(is_all=config.getoption("--every-point"))]:
        terminalreporter.write_line(line)


def _table() -> Iterator[str]:
    """Yield the table: a line for each shape, the points tried by victim, and what came of them."""
    if not (CRASHED or TALLY):
        return
    row = "{:<42}" + "{:>12}" * len(VICTIMS) + "{:>7}{:>16}{:>17}{:>16}"
    yield row.format("points tried, by victim", *VICTIMS, *HEADS[3:])
    for kind, shape in dict.fromkeys((tried.case.kind, tried.case.shape) for tried in CRASHED):
        name = shape if kind == "rabbitmq" else f"{shape} ({kind})"
        yield row.format(
            *cells(name, [t for t in CRASHED if (t.case.kind, t.case.shape) == (kind, shape)], VICTIMS)
        )
    if CRASHED:
        yield row.format(*cells("all", CRASHED, VICTIMS))
    for shape in dict.fromkeys(shape for shape, _ in TALLY):
        found = {victim: tally for (of, victim), tally in TALLY.items() if of == shape}
        tried = [found.get(victim, Counter())["tried"] for victim in VICTIMS]
        yield row.format(shape, *tried, *(sum(t[name] for t in found.values()) for name in HEADS[3:]))
    if LEFT:
        yield f"{len(LEFT)} cases are not done: run the same again to go on"


def _by_topic(*, is_all: bool) -> Iterator[str]:
    for topic in TOPICS:
        lines = [line for of, line in LINES if of == topic]
        if lines or is_all:
            yield f"{topic}:"
            yield from (f"  {line}" for line in lines or ["not tried in this run"])
