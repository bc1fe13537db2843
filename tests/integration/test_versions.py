"""Old jobs under new code: their plans, their versions, and tasks that are gone for a while."""

from __future__ import annotations

import dataclasses

import pytest
from celery import chain

from coordinator import each, registry
from coordinator.states import State, StepState
from tests.flows import add, count_to, total
from tests.integration.racers import triple
from tests.waiting import wait_until

HAS_IT = {"COORDINATOR_JOBS": "tests.flows,tests.integration.racers"}


@pytest.mark.parametrize(
    "build",
    [
        lambda: chain(count_to.s(4), total.s(), triple.s()),
        lambda: chain(count_to.s(4), each(triple.s(), join=total.s())),
        lambda: chain(count_to.s(4), each(triple.s(), batch=2, combine=total.s())),
        lambda: chain(triple.map([0, 1, 2, 3]), total.s()),
    ],
    ids=["a step", "items", "batches", "map"],
)
def test_step_waits_when_no_worker_has_its_task_and_goes_on_when_one_has(build, coordinator, start_worker):
    """The worker is changed under the job: nothing fails, ``why`` names the task, the new one goes on."""
    old = start_worker()
    job = coordinator.launch(build())

    def unregistered():
        return {reason.code: reason for reason in coordinator.why(job)}.get("unregistered")

    reason = wait_until(unregistered, what="the reason")
    assert "tests.integration.racers.triple" in reason.found and reason.needs_you
    events = len(coordinator.events(job))
    wait_until(lambda: len(coordinator.events(job)) > events, what="it to be sent again, in vain")
    assert coordinator.status(job).state == State.PROCESSING
    found = next(finding for finding in coordinator.findings() if finding.name == "tasks of jobs")
    assert found.level == "warn" and "triple" in found.found and job in found.found

    old.kill()
    start_worker(env=HAS_IT)

    assert coordinator.wait(job, timeout_s=40) == 18
    assert {step.state for step in coordinator.steps(job)} == {StepState.SUCCEEDED}


def test_worker_that_lacks_a_task_is_named_when_another_has_it(coordinator, start_worker):
    """While old and new workers read one queue, a message that the old one drops is sent again."""
    old = start_worker()
    start_worker(env=HAS_IT)
    jobs = [coordinator.launch(triple.s(n)) for n in range(6)]  # some of them meet the old one

    def named():
        return [r for job in jobs for r in coordinator.why(job) if r.code == "partly-registered"]

    reason = wait_until(named, what="the reason")[0]
    assert old.nodename in reason.found and "triple" in reason.found
    old.kill()
    assert [coordinator.wait(job, timeout_s=60) for job in jobs] == [0, 3, 6, 9, 12, 15]


def test_job_keeps_its_plan_when_its_kind_has_another_version(coordinator, start_worker, monkeypatch):
    """The old job ends as it was planned, the new one as it is now; the versions are told apart."""
    old = coordinator.submit("sum_to", {"n": 4}).id
    kind = registry.kind("sum_to")
    newer = dataclasses.replace(kind, builder=lambda p: add.s(p.n, 100), version="3")
    monkeypatch.setitem(registry._kinds, "sum_to", newer)
    new = coordinator.submit("sum_to", {"n": 4}).id

    finding = next(finding for finding in coordinator.findings() if finding.name == "versions of jobs")
    assert finding.ok and "sum_to 2: 1 job" in finding.found and "sum_to 3: 1 job" in finding.found
    assert "sum_to is at 3 now" in finding.found and "keep the tasks" in finding.advice

    start_worker()
    assert coordinator.wait(old, timeout_s=20) == 12
    assert coordinator.wait(new, timeout_s=20) == 104
    assert [coordinator.status(job).version for job in (old, new)] == ["2", "3"]
    assert "versions of jobs" not in {finding.name for finding in coordinator.findings()}
