from __future__ import annotations

import pytest
from celery import chain, chord, group

from coordinator import each, race
from coordinator.compiler import compile_canvas
from coordinator.forecast import Forecast, forecast
from tests.flows import add, count_to, double, fail, numbers_by_page, total


def of(canvas) -> Forecast:
    return forecast(compile_canvas(canvas), lambda step: (step.options or {}).get("queue", "q"))


def test_messages_are_exact_when_nothing_depends_on_values():
    """A step is a message; error callbacks are sent only by a failure."""
    canvas = chain(add.s(1, 1), chord([double.s().set(queue="gpu"), double.s()], total.s()))
    canvas.link_error(fail.si("x"))

    found = of(canvas)

    assert (found.messages, found.least, found.most, found.spared) == (4, 4, 4, 0)
    assert [(queue.name, queue.messages, sorted(queue.tasks)) for queue in found.queues] == [
        ("gpu", 1, ["tests.flows.double"]),
        ("q", 3, ["tests.flows.add", "tests.flows.double", "tests.flows.total"]),
    ]


def test_messages_are_a_bound_when_canvases_race():
    """What is lost is not sent; a race within a lane is lost with it."""
    inner = race(double.s(), chain(double.s(), double.s()))
    found = of(chain(add.s(1, 1), race(double.s(), chain(double.s(), inner, double.s()))))

    assert found.messages == 1 + 1 + 5
    assert (found.least, found.most, found.spared) == (2, 7, 5)


@pytest.mark.parametrize(
    ("canvas", "words", "least", "most"),
    [
        (
            chain(count_to.s(5), each(double.s(), join=total.s())),
            "1 for each item of what comes from 0",
            3,
            None,
        ),
        (chain(count_to.s(5), each(chain(double.s(), double.s()))), "2 for each item of what", 2, None),
        (each(double.s(), batch=10, over=range(95)), "95 items in batches of 10", 1 + 10, 1 + 10),
        (each(double.s(), over=range(1_000_000)), "1 to 10,000 items", 1 + 100, 1 + 1_000_000),
        (each(double.s(), batch=1, combine=total.s(), over=range(101)), "each merge of 100", 105, 105),
        (each(double.s(), over=range(0), combine=total.s()), "0 items", 1, 1),
        (each(double.s(), batch=10, over=range(10**20)), "items in batches of 10", 1 + 10**19, 1 + 10**19),
        (each(double.s(), over={"lines": "a.txt"}), "the lines of a.txt", 1, None),
        (each(double.s(), over=numbers_by_page.s(1, 2)), "1 for each page", 1, None),
    ],
)
def test_messages_are_a_formula_when_items_come_at_run_time(canvas, words, least, most):
    """The words say on what the number depends, and the bounds hold."""
    found = of(canvas)

    assert words in found.more[0].words
    assert (found.least, found.most) == (least, most)


def test_queue_of_the_items_counts_when_it_is_another():
    """Whoever runs the items, merges them and yields the pages is needed there."""
    step = double.s().set(queue="gpu")
    found = {
        queue.name: queue for queue in of(each(step, combine=total.s(), over=numbers_by_page.s(1, 2))).queues
    }

    assert (found["q"].messages, found["q"].more, found["q"].tasks) == (1, [], set())
    assert (found["gpu"].messages, found["gpu"].more) == (0, ["0"])
    assert found["gpu"].tasks == {f"tests.flows.{name}" for name in ("double", "total", "numbers_by_page")}


@pytest.mark.parametrize("limits", [{}, {"batch": 10}])
def test_queue_of_the_whole_job_is_that_of_the_items_when_they_have_none(limits):
    """``submit --queue`` holds for what comes about at run time too."""
    plan = compile_canvas(chain(count_to.s(3), each(double.s(), **limits)), defaults={"queue": "gpu"})

    found = forecast(plan, lambda step: (step.options or {}).get("queue", "q"))

    assert [(queue.name, queue.messages, queue.more) for queue in found.queues] == [("gpu", 2, ["1"])]


def test_canvas_that_a_step_grew_is_counted_when_the_job_runs():
    """What is known by then is no formula any more."""
    plan = compile_canvas(chain(count_to.s(3), each(double.s())))
    grown = compile_canvas(group(double.s(n) for n in range(3)), prefix="1/")

    found = forecast(plan, lambda _: "q", {"1": grown})

    assert (found.messages, found.more) == (5, ())
