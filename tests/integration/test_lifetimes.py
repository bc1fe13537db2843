"""How long what is kept of a job lives: no longer than the job, and not less long."""

from __future__ import annotations

from celery import chain

from coordinator.compiler import compile_canvas
from coordinator.states import State
from tests.flows import add, double
from tests.integration.by_hand import JOB
from tests.integration.test_odd_input import kept_for_ever
from tests.waiting import wait_until


def test_nothing_is_kept_for_ever_when_a_job_is_rejected_by_its_checks(coordinator, start_worker):
    """Also not the count of its checks, which a later job of the same key would meet."""
    start_worker()
    job = coordinator.submit("sum_to", {"n": -3}).id

    wait_until(lambda: coordinator.status(job).state == State.REJECTED, what="the refusal")

    assert kept_for_ever(coordinator, job) == []


def test_values_of_batches_live_as_long_as_their_job_when_another_list_is_stored(hand):
    """Its pages lie beside them: a worker that was killed before that stream opened let all expire."""
    job = hand(chain(add.s(1, 1), double.s()))
    state, (values,) = job.state, job.state.keys.named(JOB, "v")

    state.keep_pages(JOB, "1", 1, [[1, 2], [3]])
    assert state.client.pttl(values) == -1
    assert state.pages(JOB, ["1@1:1"]) == [[3]]
    state.cancel(JOB)
    state.client.delete(values)
    state.keep_pages(JOB, "1", 2, [[1]])
    assert state.client.pttl(values) > 0
    state.client.delete(values, *state.keys.named(JOB, "m"))
    state.keep_pages(JOB, "1", 3, [[1]])

    assert not state.client.exists(values)


def test_plan_is_the_present_one_when_its_id_was_another_jobs_a_moment_ago(hand):
    """A process that had looked at that one in its last minute remembered its plan, and sent its steps."""
    job = hand(add.s(1, 1))
    state, keys = job.state, job.state.keys.named(JOB, "m p r x g f e a b s v")
    state.cancel(JOB)
    for key in keys:
        state.client.pexpire(key, 30_000)
    assert job.another.plan(JOB).size == 1
    state.client.delete(*keys)

    fields = {"kind": "any", "receipt": "r", "total": 2, "params": "{}"}
    state.submit(JOB, State.PROCESSING, fields, plan=compile_canvas(chain(add.s(1, 1), double.s())))

    assert job.another.plan(JOB).size == 2
