"""A process is killed before or after each of its I/O calls in turn; the job must not notice."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import make_services
from tests.faults.campaign import Campaign
from tests.faults.crash_points import VICTIMS
from tests.faults.figures import CRASHED, LEFT, SAMPLE, SEED
from tests.faults.lane import Lane
from tests.faults.ledger import PAST, RIGHT, Case, Ledger
from tests.faults.shapes import SHAPES

#: Every point of this case is tried in a short run too.
WHOLE = Case("rabbitmq", "chord in a chain", "child")
#: On quorum queues a short run tries these.
REPRESENTATIVE = ("chord in a chain", "retrying step")
#: Kinds of broker by what ``--broker`` names.
KINDS = {"rabbitmq": ("rabbitmq", "quorum"), "redis": ("redis",)}
LANES = int(os.environ.get("FAULT_LANES") or 4 * (os.cpu_count() or 1))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    every = metafunc.config.getoption("--every-point")
    only = metafunc.config.getoption("--broker")
    kinds = [kind for broker, names in KINDS.items() if only in (None, broker) for kind in names]
    cases = [
        Case(kind, shape.name, victim)
        for kind in kinds
        for shape in SHAPES
        for victim in VICTIMS
        if every or kind != "quorum" or shape.name in REPRESENTATIVE
    ]
    metafunc.parametrize("case", cases, ids=lambda case: f"{case.kind}-{case.shape}-{case.victim}")


@pytest.fixture(scope="module")
def campaign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """All cases that were collected, tried on several lanes at once while the tests wait for theirs."""
    cases = [item.callspec.params["case"] for item in request.session.items if item.path == request.path]
    kinds = {case.kind for case in cases}
    redis = request.getfixturevalue("redis_server")
    rabbitmq = request.getfixturevalue("rabbitmq") if kinds - {"redis"} else None
    databases = iter(range(2, 64))
    homes = map(tmp_path_factory.mktemp("lanes").joinpath, map(str, itertools.count()))

    def open_lane(kind: str) -> Lane:
        broker = "redis" if kind == "redis" else "rabbitmq"
        url = redis.url(next(databases)) if kind == "redis" else rabbitmq.url()
        services = make_services(broker, url, redis.url(1))
        if kind == "quorum":
            services.env["COORDINATOR_QUEUE_TYPE"] = "quorum"
        return Lane(services, next(homes))

    option = request.config.getoption
    every = option("--every-point")
    ledger = Ledger(Path(option("--results")) if option("--results") else None)
    running = Campaign(
        open_lane,
        ledger,
        lanes=LANES,
        sample=lambda case: None if every or case == WHOLE else SAMPLE,
        seed=SEED,
        budget_s=60 * option("--minutes"),
    )
    running.start(cases)
    yield running
    running.close()


def test_job_completes_once_when_a_process_is_killed_at_any_call(case: Case, campaign: Campaign):
    """For each call: the job ends by itself, rightly, with every step recorded once and nothing left over."""
    rows = campaign.outcome(case)
    CRASHED.extend(rows)
    bad = [row for row in rows if row.verdict not in (RIGHT, PAST)]
    for row in bad:
        print(f"{case}: {'after' if row.when else 'before'} call {row.call}: {row.verdict}: {row.report}")  # noqa: T201
    assert not bad, [(row.call, row.when, row.verdict) for row in bad]
    if left := campaign.left_out[case]:
        LEFT.append(case)
        pytest.skip(f"time was up: {left} points or more are left for the next run")
    assert any(row.verdict == RIGHT for row in rows)
