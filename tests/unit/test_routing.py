from __future__ import annotations

import pytest
from celery import Celery

from coordinator.plan import PlannedStep
from coordinator.routing import Routing

# Deprecated by Celery 5.7, and kept while projects have it.
pytestmark = pytest.mark.filterwarnings(r"ignore:\s*The 'queue' task attribute")


def nothing() -> None: ...


@pytest.fixture
def app() -> Celery:
    app = Celery("routes", broker="memory://", set_as_current=False)
    app.conf.update(
        task_default_queue="normal",
        task_create_missing_queues=True,
        task_routes={
            "routes.routed": {"queue": "by-name"},
            "routes.both": {"queue": "by-name", "priority": 3},
        },
    )
    app.task(name="routes.plain", shared=False)(nothing)
    app.task(name="routes.routed", shared=False)(nothing)
    app.task(name="routes.both", shared=False, queue="of-the-task", time_limit=5)(nothing)
    app.finalize()
    yield app
    app.close()


@pytest.mark.parametrize(
    ("step", "queue"),
    [
        (PlannedStep("0", "routes.plain"), "normal"),
        (PlannedStep("0", "routes.unknown"), "normal"),
        (PlannedStep("0", "routes.routed"), "by-name"),
        (PlannedStep("0", "routes.both"), "of-the-task"),
        (PlannedStep("0", "routes.both", options={"queue": "own"}), "own"),
        (PlannedStep("0", "routes.plain", options={"headers": {"a": 1}, "queue": "own"}), "own"),
        (PlannedStep("0", "celery.map", kwargs={"task": {"task": "routes.routed"}, "it": [1]}), "by-name"),
        (PlannedStep("0/1", "coordinator.batch", kwargs={"task": {"task": "routes.routed"}}), "by-name"),
        (PlannedStep("0/1", "coordinator.batch", kwargs={"task": {"task": "routes.both"}}), "of-the-task"),
    ],
    ids=str,
)
def test_step_goes_where_celery_would_send_its_task(app, step, queue):
    """The signature wins over the task, the task over the routes; also when it is remembered."""
    routing = Routing(app)

    assert [routing.queue_of(step), routing.queue_of(step)] == [queue, queue]


def test_options_of_the_task_are_kept_and_may_be_changed_by_the_caller(app):
    """Time limits and priorities that are set on a task or a route hold for its steps."""
    routing = Routing(app)
    step = PlannedStep("0", "routes.both")

    found = routing.options_of(step)
    assert (found["time_limit"], found["priority"]) == (5, 3)
    found.clear()
    assert routing.options_of(step)["time_limit"] == 5
    batch = PlannedStep("0/1", "coordinator.batch", kwargs={"task": {"task": "routes.both"}})
    assert "time_limit" not in routing.options_of(batch)  # it holds for one item


def test_routes_that_are_functions_are_asked_each_time(app):
    """They may look at the arguments."""
    app.conf.task_routes = [lambda _name, args, *_, **__: {"queue": f"q{args[0]}"}]
    routing = Routing(app)

    assert [routing.queue_of(PlannedStep("0", "routes.plain", args=(n,))) for n in (1, 2)] == ["q1", "q2"]
