"""``bench`` measures with jobs of its own, and leaves nothing that goes on."""

from __future__ import annotations

import json

import pytest

from coordinator.bench import KIND
from tests.acceptance.program import Program
from tests.conftest import Services

MEASURED = 5


@pytest.fixture
def program(services: Services, tmp_path) -> Program:
    return Program.at(tmp_path, {**services.env, "COORDINATOR_JOBS": "tests.flows"})


def test_bench_measures_each_thing_when_a_worker_runs(program, coordinator, start_worker):
    """Submits, a chain and a fan-out; the jobs are of an internal kind, and have ended."""
    start_worker()

    done = program("bench", "--steps", "20", "-o", "json")

    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert len(figures) == MEASURED and all(figure["value"] > 0 for figure in figures)
    assert {figure["unit"] for figure in figures} == {"ms", "messages/s", "steps/s"}
    assert not coordinator.jobs() and {job.state for job in coordinator.jobs(kind=KIND)} == {"succeeded"}


def test_bench_says_what_to_do_and_cancels_when_no_worker_reads_the_queue(program, coordinator):
    """Exit code 124, no traceback, and nothing is left for a worker that comes later."""
    done = program("bench", "--timeout", "1s")

    assert done.returncode == 124
    assert "doctor" in done.stderr and "Traceback" not in done.stderr
    assert [job.state for job in coordinator.jobs(kind=KIND)] == ["cancelled"]
