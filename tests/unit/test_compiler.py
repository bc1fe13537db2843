from __future__ import annotations

import zlib
from datetime import UTC, datetime
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.json import dumps, loads

from coordinator.canvas import each, race
from coordinator.compiler import compile_canvas, compile_phases
from coordinator.errors import UnsupportedCanvas
from coordinator.plan import PHASE_CHECK, PHASE_WORK, Plan, filled, leaves, prefix_of
from coordinator.signatures import options_of

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


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda: chain(a.s(), b.s().set(countdown="soon")),
            r"canvas\.chain\[1\].*'countdown'.*seconds, got 'soon'",
        ),
        (lambda: group(a.s(), b.s().set(time_limit="x")), r"canvas\.group\[1\].*'time_limit'"),
        (lambda: a.s().set(expires="some day"), r"canvas: .*'expires'.*seconds or a time"),
        (lambda: a.s().set(eta="some day"), "eta to be a datetime"),
        (lambda: a.s().set(priority="high"), "'priority'.*a whole number"),
        (lambda: [a.s()], "got a list; make it a group or a chain"),
        (lambda: each(b.s()), "nothing before it; give it over="),
        (
            lambda: chain(a.s(), each(chain(b.s(), a.s().set(foo=1)))),
            r"canvas\.chain\[1\]\.each\.chain\[1\].*'foo'",
        ),
    ],
)
def test_canvas_is_refused_at_submit_when_only_its_worker_would_find_it_wrong(build, words):
    """A message that a worker drops would leave a job that waits for ever."""
    with pytest.raises(UnsupportedCanvas, match=words):
        compile_canvas(build())


def test_task_in_the_place_of_a_signature_is_refused_with_what_to_write():
    """The slip that everybody makes once."""
    for give in (compile_canvas, each, race):
        with pytest.raises(UnsupportedCanvas, match=r"the task plans\.a; write a\.s\(…\)"):
            give(a)


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


# -- options, links, error callbacks, races ------------------------------------
def options(canvas: Any) -> list[dict[str, Any]]:
    return [dict(step.options or {}) for step in compile_canvas(canvas).steps]


def test_options_hold_where_celery_has_them_hold_when_set_on_a_canvas():
    """Of a chain for its first task, of a chord for header and body, a delay for the header alone."""
    q = {"queue": "q"}
    assert options(chain(a.s(1), b.s()).set(**q)) == [q, {}]
    assert options(chain(a.si(1), group(b.s(), b.s())).set(**q)) == [q, {}, {}]
    assert options(group(chain(a.s(1), b.s()), a.s(2)).set(**q)) == [q, {}, q]
    assert options(chord([a.s(1), a.s(2)], chain(b.s(), b.s())).set(countdown=3, **q)) == [
        {"countdown": 3, **q}, {"countdown": 3, **q}, q, {},
    ]  # fmt: skip


def test_defaults_hold_for_steps_that_have_none_of_their_own():
    """``submit --queue`` does not take a step away from where it is routed."""
    canvas = chain(a.s(1), a.s().set(queue="own"), a.s().set(routing_key="r", priority=1)).on_error(b.s())

    plan = Plan.loads(compile_canvas(canvas, defaults={"queue": "q", "priority": 5}).dumps())

    assert [dict(step.options) for step in plan.steps] == [
        {"queue": "q", "priority": 5},
        {"queue": "own", "priority": 5},
        {"routing_key": "r", "priority": 1},
        {"queue": "q", "priority": 5},  # the error callback
    ]
    assert plan.defaults == {"queue": "q", "priority": 5}


def test_frontier_is_found_when_steps_replaced_one_another_more_often_than_python_recurses():
    """As of a step that polls: it puts itself in its place again and again."""
    keys = ["0" + "/0" * depth for depth in range(1500)]
    fragments = {key: compile_canvas(a.s(1), prefix=f"{key}/") for key in keys}

    found = compile_canvas(a.s(1)).frontier(set(), fragments)

    assert [step.key for step in found] == [f"{keys[-1]}/0"]


def test_links_are_waited_for_when_the_result_does_not_need_them():
    """What is linked is a step, and the whole is complete when it is recorded too."""
    plan = compile_canvas(chain(a.s(1).set(link=[b.s(5), chord([b.s(6), b.s(7)], b.s(8))]), b.s(2)))

    value, order = run(plan)

    assert value == [[1], 2] and len(order) == 6
    assert not plan.is_complete({"0", plan.result}) and plan.is_complete(set(order))
    assert all(step.follow for step in plan.steps)


def test_error_callbacks_stand_behind_the_steps_and_are_never_ready():
    """One step for each, whoever has it; the whole has those that every task has."""
    canvas = group(a.s(1).on_error(b.s("own")), a.s(2))
    canvas.options["link_error"] = [b.s("all")]

    plan = Plan.loads(compile_canvas(canvas).dumps())

    assert [step.errbacks for step in plan.steps[:2]] == [("2", "3"), ("2",)]
    assert plan.errbacks == ["2"] and plan.size == 2
    assert [step.key for step in plan.frontier(set())] == ["0", "1"]
    with pytest.raises(UnsupportedCanvas, match=r"canvas.*link_error.*chain"):
        compile_canvas(a.s(1).on_error(chain(a.s(), b.s())))


def test_group_cannot_be_linked_when_it_is_the_whole():
    """Celery refuses it too; ``group.link`` is on the first task."""
    with pytest.raises(UnsupportedCanvas, match=r"canvas: a group can't be linked"):
        compile_canvas(group(a.s(1), a.s(2)).set(link=b.s()))
    linked = group(a.s(1), a.s(2))
    linked.link(b.s())
    assert len(compile_canvas(linked).steps) == 3


def test_lanes_have_consecutive_keys_and_one_way_to_win_when_compiled():
    """A script names a lane by its first and last step; each of its ends says what it wins."""
    lanes = [a.s(1), group(a.s(2), chain(a.s(3), b.s())), race(a.s(4), a.s(5))]

    plan = Plan.loads(compile_canvas(chain(a.s(0), race(*lanes), b.s()), prefix="7/").dumps())

    assert plan.races == {"7/1": [[2, 2], [3, 5], [6, 8]], "7/6": [[7, 7], [8, 8]]}
    assert plan.lanes_of(plan.by_key["7/8"]) == [["7/6", 2, 1, 8, 8], ["7/1", 3, 2, 6, 8]]
    ends = [step.key for step in plan.steps if any(part[:2] == ("win", "7/1") for part in step.follow)]
    assert ends == ["7/2", "7/3", "7/5", "7/6", "7/7", "7/8"]
    assert [step.key for step in plan.frontier({"7/0"})] == ["7/2", "7/3", "7/4", "7/7", "7/8"]
    assert [step.key for step in plan.frontier({"7/0", "7/1", *(f"7/{n}" for n in range(2, 9))})] == ["7/9"]


def test_message_of_a_step_is_as_small_in_a_large_lane_as_in_a_small_one():
    """What a lane gives is named, not spelled out in each step; else a race of n steps takes n² bytes."""

    def largest(steps: int) -> int:
        plan = compile_canvas(race(group(a.s(1) for _ in range(steps)), b.s(1)))
        return max(len(dumps(step.follow)) for step in plan.steps)

    assert largest(1000) < largest(2) + 20


def test_arguments_go_in_where_celery_lets_them_when_partial():
    """Before a task's own; of a chord to its header; an immutable task takes none."""

    def args(canvas: Any) -> list[tuple[Any, ...]]:
        return [tuple(step.args) for step in compile_canvas(canvas, args=(9,), kwargs={"k": 1}).steps]

    assert args(chain(a.s(1), b.s(2))) == [(9, 1), (2,)]
    assert args(chord([a.s(1), a.si(2)], b.s(3))) == [(9, 1), (2,), (3,)]
    assert args(group(a.s(1), chain(a.s(2), b.s(3)))) == [(9, 1), (9, 2), (3,)]


def test_plan_of_an_older_version_is_read_when_it_lacks_what_came_later():
    """A job that was started before goes on with its own stored plan."""
    document = loads(zlib.decompress(compile_canvas(chain(a.s(1), b.s())).dumps()))
    del document["races"], document["lane_values"], document["rest"], document["defaults"]
    document["steps"] = [row[:10] for row in document["steps"]]

    plan = Plan.loads(zlib.compress(dumps(document).encode()))

    assert run(plan)[0] == [[1]]


def test_eta_is_a_time_of_the_applications_timezone_when_it_names_none():
    """As in Celery: it was taken for UTC."""
    app = Celery(set_as_current=False, broker="memory://")
    app.conf.timezone = "Europe/Berlin"
    due = datetime.fromisoformat("2027-07-01T12:00:00")

    kept = options_of(app.signature("a").set(eta=due), "canvas")

    assert kept["eta_ms"] == datetime(2027, 7, 1, 10, tzinfo=UTC).timestamp() * 1000
    app.close()
