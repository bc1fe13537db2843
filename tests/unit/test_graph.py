from __future__ import annotations

import time
from dataclasses import replace

import pytest
from celery import chain, chord, group

from coordinator.canvas import race
from coordinator.compiler import compile_canvas
from coordinator.downstream import forgetting
from coordinator.graph import Graph, Tally, draw, fold
from coordinator.graph.layout import lay_out
from tests.flows import add, count_to, double, grow, total


def edges(graph: Graph) -> set[tuple[str, str]]:
    names = {
        node.id: f"{node.label or node.kind}*{node.count}" if node.count > 1 else node.label or node.kind
        for node in graph.nodes
    }
    return {(names[before], names[node.id]) for node in graph.nodes for before in node.after}


def test_chord_fans_out_and_joins_when_small():
    """Few parts are drawn one by one, and meet in a join."""
    plan = compile_canvas(chain(add.s(1, 2), chord([double.s(), double.s()], total.s())))

    assert edges(fold(plan)) == {
        ("add", "double[0]"),
        ("add", "double[1]"),
        ("double[0]", "join"),
        ("double[1]", "join"),
        ("join", "total"),
    }


def test_parts_are_one_node_when_they_are_thousands():
    """A chord of 5,000 is three nodes, and so is a chord whose parts are chains, link by link."""
    parts = [chain(add.s(n, n), double.s()) for n in range(5000)]
    graph = fold(compile_canvas(chord(parts, total.s())))

    assert edges(graph) == {("add*5000", "double*5000"), ("double*5000", "join"), ("join", "total")}
    assert sum(len(node.keys) for node in graph.nodes if node.kind == "step") == 10_001


def test_chords_of_chords_fold_their_joins_when_many():
    """Many equal chords within a chord are as few nodes as one of them."""
    inner = [chord([double.s(1), double.s(2)], total.s()) for _ in range(40)]

    assert edges(fold(compile_canvas(chord(inner, total.s())))) == {
        ("double*80", "join*40"),
        ("join*40", "total*40"),
        ("total*40", "join"),
        ("join", "total"),
    }


def test_canvas_that_took_a_steps_place_follows_the_step_when_expanded():
    """What follows the step is drawn behind the canvas' end."""
    plan = compile_canvas(chain(grow.s(3), double.s()))
    canvas = chord([add.s(1, 1), add.s(2, 2)], total.s())
    fragment = compile_canvas(canvas, prefix="0/", end=(("up", "0"), ("next", "0")))

    assert edges(fold(plan, {"0": fragment})) == {
        ("grow", "add[0]"),
        ("grow", "add[1]"),
        ("add[0]", "join"),
        ("add[1]", "join"),
        ("join", "total"),
        ("total", "double"),
    }


def test_group_in_a_steps_place_joins_when_something_follows():
    """The items of an ``each`` are joined though its plan has no join of its own."""
    plan = compile_canvas(chain(count_to.s(3), total.s()))
    fragment = compile_canvas(group(double.s(n) for n in range(9)), prefix="0/")

    assert edges(fold(plan, {"0": fragment})) == {
        ("count_to", "double*9"),
        ("double*9", "join"),
        ("join", "total"),
    }


def test_race_meets_in_one_point_when_something_follows():
    """The lanes of a race end where the first of them decides."""
    plan = compile_canvas(chain(race(add.s(1, 2), chain(double.s(1), double.s())), total.s()))

    found = edges(fold(plan))

    assert {before for before, after in found if after == "race"} == {"add[0]", "double[1]"}
    assert ("race", "total") in found


def test_race_is_no_node_of_its_own_when_drawn():
    """The step that stands for a race is never sent: it would float beside the graph, joined to nothing."""
    plan = compile_canvas(chain(add.s(1, 1), race(double.s(), double.s()), total.s()))

    drawn = [node.task.rpartition(".")[2] for node in fold(plan).nodes if node.kind == "step"]

    assert drawn == ["add", "double", "double", "total"]


@pytest.mark.parametrize("width", [1, 3, 6, 50])
def test_nodes_never_overlap_when_laid_out(width):
    """Whatever the shape, each node has its own place, right of what it follows."""
    lanes = [chain(add.s(1, 1), chord([double.s(), double.s()], total.s())) for _ in range(width)]
    graph = fold(compile_canvas(chord([*lanes, double.s(1)], total.s())))
    layout = lay_out(graph)

    places = list(layout.places.values())
    for number, a in enumerate(places):
        assert a.x >= 0 and a.y >= 0 and a.x + a.width <= layout.width and a.y + a.height <= layout.height
        for b in places[number + 1 :]:
            assert (
                a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y
            )
    for node in graph.nodes:
        for before in node.after:
            assert layout.places[before].x + layout.places[before].width < layout.places[node.id].x


def test_picture_escapes_what_a_job_says_when_drawn():
    """A task's name is text, never markup."""
    plan = compile_canvas(add.s(1, 2))
    plan = replace(plan, steps=(plan.steps[0]._replace(task='<script>alert("1")</script>'),))

    assert "<script" not in draw(fold(plan), lambda node: Tally(node.count))


def test_linked_step_is_no_part_of_a_header_when_it_waits_on_the_same():
    """It runs the same task, behind the same step, but for itself."""
    parts = chain(add.s(1, 2).set(link=double.s()), group(double.s() for _ in range(7)))

    assert edges(fold(compile_canvas(parts))) == {("add", "double"), ("add", "double*7")}


@pytest.mark.parametrize(
    "canvas",
    [
        chain(add.si(1, 1), *(group(total.si([1]) for _ in range(6000)) for _ in range(2))),
        group(chord([add.s(1, 1), add.s(1, 1)], total.s()) for _ in range(6000)),
    ],
    ids=["groups in a row", "many chords"],
)
def test_time_goes_with_the_size_of_a_plan_and_not_with_its_square(canvas):
    """To compile, to fold, and to find what came of a step."""
    began = time.process_time()
    plan = compile_canvas(canvas)
    fold(plan)
    forgetting("0", plan, {}, {step.key for step in plan.steps})

    assert time.process_time() - began < 6
