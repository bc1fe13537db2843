"""How long what is kept of a job lives: no longer than the job, and not less long."""

from __future__ import annotations

from coordinator.states import State
from tests.integration.test_odd_input import kept_for_ever
from tests.waiting import wait_until


def test_nothing_is_kept_for_ever_when_a_job_is_rejected_by_its_checks(coordinator, start_worker):
    """Also not the count of its checks, which a later job of the same key would meet."""
    start_worker()
    job = coordinator.submit("sum_to", {"n": -3}).id

    wait_until(lambda: coordinator.status(job).state == State.REJECTED, what="the refusal")

    assert kept_for_ever(coordinator, job) == []
