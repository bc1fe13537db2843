from __future__ import annotations

from typing import Any

import pytest
from celery import Celery, chain, chord, group
from hypothesis import given
from hypothesis import strategies as st

from coordinator.canvas import each
from coordinator.compiler import compile_canvas, compile_phases
from coordinator.errors import UnsupportedCanvas
from coordinator.plan import PHASE_CHECK, PHASE_WORK, Plan, filled, leaves, prefix_of

celery = Celery("plans", broker="memory://", set_as_current=False)


@celery.task(name="plans.a")
def a(*values: Any) -> Any:
    return values


@celery.task(name="plans.b")
def b(*values: Any) -> Any:
    return values


def run(plan: Plan) -> tuple[Any, list[str]]:
    """Run a plan by its frontier alone: the value that it ends with, and the keys in the order they ran."""
    values: dict[str, Any] = {}
    order: list[str] = []
    while not plan.is_complete(values):
        ready = plan.frontier(values)
        assert ready, "a plan that is not complete has a frontier"
        for step in ready:
            source = plan.joins.get(step.after, step.after) if step.takes else None
            taken = [filled(source, values)] if source is not None else []
            values[step.key] = [*taken, *step.args]
            order.append(step.key)
    assert not plan.frontier(values)
    return filled(plan.result, values), order


@pytest.mark.parametrize(
    ("canvas", "value"),
    [
        (a.s(1), [1]),
        (chain(a.s(1), b.s(2)), [[1], 2]),
        (chain(a.s(1), b.si(2)), [2]),
        (group(a.s(1), b.s(2)), [[1], [2]]),
        (chain(a.s(1), group(a.s(), b.s(2))), [[[1]], [[1], 2]]),
        (chord([a.s(1), a.s(2)], b.s(9)), [[[1], [2]], 9]),
        (chord([a.s(1)], b.s()), [[[1]]]),
        (chord([], b.s(9)), [[], 9]),
        (chain(chord([a.s(1)], b.s()), a.s(2)), [[[[1]]], 2]),
        (chain(group(a.s(1), a.s(2)), group(b.s(), b.s(3))), [[[[1], [2]]], [[[1], [2]], 3]]),
        (chord([chain(a.s(1), b.s()), group(a.s(2), a.s(3))], b.s()), [[[[1]], [2], [3]]]),
        (chord([chord([a.s(1)], b.s()), a.s(2)], b.s()), [[[[[1]]], [2]]]),
        (a.chunks([(1,), (2,), (3,)], 2), None),
    ],
    ids=str,
)
def test_plan_gives_the_value_of_the_canvas_when_run_by_its_frontier(canvas, value):
    """Whatever the nesting, running the frontier again and again gives what Celery's canvas means."""
    plan = Plan.loads(compile_canvas(canvas).dumps())

    got, order = run(plan)

    assert value is None or got == value
    assert sorted(order) == sorted(step.key for step in plan.steps), "every step runs once"


@st.composite
def canvases(draw: st.DrawFn, depth: int = 3) -> Any:
    if depth == 0:
        return draw(st.sampled_from([a, b])).s(draw(st.integers(0, 9)))
    parts = draw(st.lists(canvases(depth=depth - 1), min_size=1, max_size=3))
    make = draw(st.sampled_from(["task", "chain", "group", "chord"]))
    if make == "task":
        return draw(canvases(depth=0))
    if make == "chord":
        return chord(parts, b.s())
    return chain(*parts) if make == "chain" else group(parts)


@given(canvases())
def test_every_step_leads_somewhere_when_a_canvas_is_compiled(canvas):
    """Each step is followed by another, by a barrier, or by the end, and barriers count what feeds them."""
    plan = compile_canvas(canvas)

    for step in plan.steps:
        assert step.follow, step
    for join, shape in plan.joins.items():
        feeding = [step.key for step in plan.steps if step.follow[0][:2] == ("join", join)]
        assert feeding == list(leaves(shape))
        assert {step.follow[0][2] for step in plan.steps if step.key in feeding} == {len(feeding)}
    ends = [step for step in plan.steps if ("end",) in step.follow]
    assert {step.key for step in ends} == set(leaves(plan.result))
    run(plan)


@given(canvases())
def test_plan_is_the_same_when_stored_and_read(canvas):
    """What a message says is a function of the stored plan."""
    plan = compile_canvas(canvas)

    assert Plan.loads(plan.dumps()).dumps() == plan.dumps()


def test_options_go_to_every_step_of_a_group_when_set_on_it():
    """As in Celery, what is set on a group wins over what is set on its tasks."""
    plan = compile_canvas(group(a.s(1), a.s(2).set(queue="own")).set(queue="q", priority=3))

    assert [dict(step.options) for step in plan.steps] == [
        {"queue": "q", "priority": 3},
        {"queue": "q", "priority": 3},
    ]


def test_canvas_is_refused_with_its_path_when_a_plan_cannot_keep_it():
    """Nothing is dropped in silence."""
    with pytest.raises(UnsupportedCanvas, match=r"canvas\.chain\[1\].*'chord_size'"):
        compile_canvas(chain(a.s(), b.s().set(chord_size=3)))
    with pytest.raises(UnsupportedCanvas, match="JSON"):
        compile_canvas(a.s(object()))
    with pytest.raises(UnsupportedCanvas, match="at least one task"):
        compile_canvas(chain())
    with pytest.raises(UnsupportedCanvas, match="signature"):
        compile_canvas(42)
    with pytest.raises(UnsupportedCanvas, match="signature"):
        each("not a signature")


def test_work_waits_for_the_gate_and_takes_nothing_when_phases_are_compiled():
    """Checks run first; the work's first step follows the gate but is not handed its value."""
    plan = compile_phases([(chord([a.s(1), a.s(2)], b.s()), PHASE_CHECK), (chain(a.s(3), b.s()), PHASE_WORK)])

    assert [step.phase for step in plan.steps] == ["check"] * 3 + ["work"] * 2
    assert plan.steps[3].after == "2" and not plan.steps[3].takes
    assert run(plan)[0] == [[3]]


def test_fragment_counts_for_the_step_in_whose_place_it_stands():
    """A canvas in the place of step 5 ends by recording step 5, and then does what follows it."""
    follow = (("join", "j0", 2), ("next", "j0"))
    plan = compile_canvas(group(a.s(1), a.s(2)), prefix="5/", end=(("up", "5"), *follow))

    assert [step.key for step in plan.steps] == ["5/0", "5/1"]
    assert plan.steps[0].follow == (("join", "5/j0", 2), ("up", "5"), *follow)
    assert plan.root_trigger == "5/^" and len(plan.sent_by("5/^")) == 2
    assert [prefix_of(name) for name in ("5/0", "=5/0/1", "5/j0", "5/^", "5", "j0", "^")] == [
        "5/", "5/0/", "5/", "5/", "", "", "",
    ]  # fmt: skip
