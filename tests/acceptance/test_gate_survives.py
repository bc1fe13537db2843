"""The shipped job on real servers: a worker is killed in the middle, the output is the same to the byte."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator import Coordinator
from coordinator.states import State, StepState
from tests.conftest import Services
from tests.facade import opened
from tests.waiting import wait_until

ROWS = 300_000
RULES = {
    "columns": {
        "id": {"type": "integer", "required": True, "min": 0},
        "amount": {"type": "number", "required": True, "min": 0, "max": 1000},
        "city": {"allowed": ["Lima", "Oslo", "Quito, Sur"]},
    },
    "summary": {"group_by": ["city"], "aggregates": {"rows": "count(*)", "total": "sum(amount)"}},
    "max_invalid_share": 0.5,
}


def write_orders(path: Path) -> None:
    """Write orders of which some are wrong, with quoted commas and line breaks."""
    rng = random.Random(20)
    cities = ["Lima", "Oslo", '"Quito, Sur"', "Atlantis", '"Li\nma"']
    with path.open("w", newline="") as file:
        file.write("id,amount,city\n")
        for number in range(ROWS):
            amount = "oops" if rng.random() < 0.01 else f"{rng.random() * 1001:.2f}"
            city = rng.choice(cities[:3]) if rng.random() < 0.97 else rng.choice(cities)
            file.write(f"{number},{amount},{city}\n")


def tree(folder: Path) -> dict[str, str]:
    """Return the hash of every file under a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def coordinator(services: Services) -> Iterator[Coordinator]:
    with opened(services.env) as facade:
        yield facade


def test_output_is_the_same_to_the_byte_when_a_worker_is_killed_in_the_middle(
    coordinator, start_worker, tmp_path
):
    """Two workers, one of them killed with its children while partitions are being cleaned."""
    source = tmp_path / "orders.csv"
    write_orders(source)
    workers = [start_worker(concurrency=1), start_worker(concurrency=1)]

    def submit(name: str) -> str:
        params = {"source": str(source), "rules": RULES, "destination": str(tmp_path / name)}
        return coordinator.submit("process_data", {**params, "partition_bytes": 400_000}, key=name).id

    def cleaned(job: str) -> int:
        steps = [step for step in coordinator.steps(job) if step.task.endswith(".clean")]
        return sum(step.state == StepState.SUCCEEDED for step in steps)

    calm = coordinator.wait(submit("calm"), timeout_s=120)
    assert calm["rows"] == ROWS and calm["valid"] + calm["quarantined"] == ROWS and calm["quarantined"] > 1000

    job = submit("killed")
    wait_until(lambda: cleaned(job) >= 3, timeout_s=60, what="some partitions")
    workers[0].kill()
    assert coordinator.status(job).state == State.PROCESSING

    stormy = coordinator.wait(job, timeout_s=120)

    def told(result: dict) -> dict:
        return {name: value for name, value in result.items() if str(tmp_path) not in str(value)}

    assert told(stormy) == told(calm)
    assert tree(tmp_path / "killed") == tree(tmp_path / "calm")
