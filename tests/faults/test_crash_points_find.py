"""The crash-point suite finds what it looks for: workers that are broken on purpose don't come through."""

from __future__ import annotations

import itertools

import pytest

from tests.faults.broken import FAULT_VARIABLE, FAULTS
from tests.faults.campaign import Campaign
from tests.faults.crash_points import AFTER
from tests.faults.figures import POWER, SEED, tell
from tests.faults.lane import Lane
from tests.faults.ledger import HUNG, RIGHT, TWICE, WRONG, Case, Ledger
from tests.waiting import PATIENCE

#: A child's first call begins the first step of a chain, its second records it.
BEGUN, RECORDED = (1, AFTER), (2, AFTER)
#: A lost child is seen within 5 s; then its step is run again, or the job hangs.
HANG_S = 15 * PATIENCE
FOUND = {"never_send_what_was_left": HUNG, "record_again": TWICE, "run_what_is_recorded": WRONG}


@pytest.mark.brokers("rabbitmq")
@pytest.mark.parametrize("fault", FAULTS)
def test_suite_finds_the_fault_when_a_worker_is_broken(fault, services, tmp_path):
    """Right where the fault does no harm; at the point where it does, the verdict that it must get."""
    services.env[FAULT_VARIABLE] = fault
    homes = (tmp_path / str(number) for number in itertools.count())
    case = Case("rabbitmq", "chain", "child")
    campaign = Campaign(
        lambda _: Lane(services, next(homes), hang_s=HANG_S),
        Ledger(None),
        lanes=1,
        sample=lambda _: None,
        seed=SEED,
        budget_s=120,
        only=[BEGUN, RECORDED],
    )
    campaign.start([case])
    try:
        rows = {(row.call, row.when): row for row in campaign.outcome(case)}
    finally:
        campaign.close()

    assert {point: row.verdict for point, row in rows.items()} == {BEGUN: RIGHT, RECORDED: FOUND[fault]}, rows
    if fault == "run_what_is_recorded":  # wrong for this reason, and no other
        assert "code ran again though its result was recorded" in rows[RECORDED].report
    tell(POWER, f"{fault.replace('_', ' ')}: the suite says {FOUND[fault]!r}")
