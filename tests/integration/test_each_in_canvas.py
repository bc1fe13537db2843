"""An ``each`` among other steps: how it counts, what it refuses, how it looks from outside."""

from __future__ import annotations

import json

import pytest
from celery import chain, chord, group
from celery.result import AsyncResult

from coordinator import each
from coordinator.dashboard.view import job_view
from coordinator.errors import JobFailed, UnsupportedCanvas
from coordinator.graph import fold
from tests.flows import add, count_to, double, mark, numbers_by_page, total
from tests.waiting import wait_until


def test_stream_counts_as_one_part_when_it_stands_in_a_chord(coordinator, start_worker):
    """A stream in a header, in a group, and in a canvas that took a step's place."""
    start_worker()
    stream = each(double.s(), combine=total.s(), batch=2, over=range(5))
    canvas = chain(chord([stream, group(stream, add.si(1, 1))], total.s()), double.s())

    assert coordinator.wait(coordinator.launch(canvas), timeout_s=20) == 2 * (20 + 20 + 2)


@pytest.mark.parametrize("items", [0, 1, 2])
def test_results_are_listed_by_item_when_each_item_ends_in_a_group(items, coordinator, start_worker):
    """One item gives a list of one result, as two give a list of two."""
    start_worker()
    canvas = chain(count_to.s(items), each(chain(double.s(), group(add.s(1), add.s(2)))))

    job = coordinator.launch(canvas)

    assert coordinator.wait(job, timeout_s=20) == [[2 * n + 1, 2 * n + 2] for n in range(items)]


def test_stream_is_refused_when_a_batch_cannot_keep_what_is_asked():
    """At once, with what to do."""
    with pytest.raises(UnsupportedCanvas, match="got a chain; leave out batch"):
        each(double.s() | double.s(), batch=2)
    with pytest.raises(UnsupportedCanvas, match="over runs within a batch, which can't keep queue"):
        each(double.s(), over=numbers_by_page.s(1, 2).set(queue="io"))
    with pytest.raises(UnsupportedCanvas, match="can't keep time_limit"):
        each(double.s().set(time_limit=3), window=2)
    for wrong in (
        {"batch": 0},
        {"batch": "many"},
        {"window": -1},
        {"window": 10**9},
        {"allow_failed": 2},
        {"allow_failed": True},
        {"over": 7},
    ):
        with pytest.raises(UnsupportedCanvas, match=f"each: expected {next(iter(wrong))}"):
            each(double.s(), **wrong)


@pytest.mark.parametrize(
    ("step", "why"),
    [(double.s() | double.s(), "got a chain"), (double.s().set(link=total.s()), "can't keep link")],
    ids=["chain", "link"],
)
def test_job_fails_with_advice_when_the_step_before_names_a_source_for_what_no_batch_can_run(
    step, why, coordinator, start_worker, tmp_path
):
    """That its items run in batches is found only then; nothing is left out in silence."""
    start_worker()
    job = coordinator.launch(chain(mark.s({"range": [0, 3, 1]}, str(tmp_path / "ran")), each(step)))

    with pytest.raises(JobFailed, match=why):
        coordinator.wait(job, timeout_s=20)


def test_batch_message_names_the_task_of_its_items_when_seen_from_outside(coordinator, start_worker):
    """Flower and ``steps`` show whose items a batch runs; a batch is a step with an id of its own."""
    job = coordinator.launch(each(double.s().set(queue="elsewhere"), batch=2, window=2, over=range(9)))
    start_worker()
    wait_until(lambda: coordinator.state_manager.fragments(job), what="the stream to begin")

    steps = coordinator.steps(job)

    assert [step.id for step in steps] == [f"{job}:0.each", f"{job}:0/0.batch", f"{job}:0/1.batch"]
    assert json.dumps(steps[1].task) == '"coordinator.batch"'
    plan = coordinator.state_manager.plan(job, "0/")
    assert plan.by_key["0/1"].kwargs == {"task": {"task": "tests.flows.double"}}
    assert coordinator.app.parts.dispatcher.queue_of(plan.by_key["0/1"]) == "elsewhere"
    assert "each" in job_view(coordinator, job)["graph"]
    assert any("elsewhere" in f"{finding}" for finding in coordinator.why(job))
    coordinator.cancel(job)


def test_graph_shows_the_stream_as_one_step_when_its_batches_run(coordinator, start_worker):
    """What follows the stream follows its step; batches, which come and go, are not drawn."""
    job = coordinator.launch(each(double.s(), join=total.s(), batch=1, over=range(9)))
    start_worker()
    coordinator.wait(job, timeout_s=20)
    state = coordinator.state_manager

    nodes = fold(state.plan(job), state.fragments(job)).nodes

    assert [(node.label, node.after) for node in nodes] == [("each", set()), ("total", {"step:0"})]


def test_celery_reads_the_steps_of_a_stream_when_asked_for_one(coordinator, start_worker):
    """``AsyncResult`` of a batch: it has succeeded, also after its values have been merged."""
    job = coordinator.launch(each(double.s(), combine=total.s(), batch=1, over=range(3)))
    start_worker()
    assert coordinator.wait(job, timeout_s=20) == 6

    results = {n: AsyncResult(f"{job}:0/{n}.batch", app=coordinator.app) for n in (0, 3, 99)}

    assert {n: result.state for n, result in results.items()} == {0: "SUCCESS", 3: "SUCCESS", 99: "PENDING"}
    assert AsyncResult(f"{job}:0.each", app=coordinator.app).get(timeout=5) == 6
