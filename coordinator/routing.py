"""Where a step's message goes, and with which options.

Owns the order of what is set: on the signature, then on the task, then by
``task_routes``. Invariant: the same as Celery's own ``apply_async`` would find. What
depends on a step's arguments (routes that are functions) is asked anew each time.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.app.routes import MapRoute
from celery.app.task import extract_exec_options

from coordinator.canvas import BATCH_OPTIONS
from coordinator.plan import PlannedStep
from coordinator.stream import BATCH

#: Steps that call another task; routes go by that one.
MAPS = ("celery.map", "celery.starmap", BATCH)
PLACES = ("queue", "routing_key", "exchange")
#: How to publish is the dispatcher's.
NOT_KEPT = ("serializer", "immediate", "mandatory")
REMEMBERED = 1000
#: Between a queue's name and a priority.
PRIORITY_MARK = "\n"


class Routing:
    """The options of steps on one application. Safe to share between threads."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._found: dict[Any, dict[str, Any]] = {}

    def options_of(self, step: PlannedStep) -> dict[str, Any]:
        """Return all options of a step's message, its queue among them, for the caller to change."""
        own = step.options or {}
        try:
            name = (step.task, _routed_name(step), *own.items())
            if name not in self._found:
                if len(self._found) >= REMEMBERED or not self._is_fixed():
                    return self._find(step, own)
                self._found[name] = self._find(step, own)
        except TypeError:  # an option that has no hash: headers
            return self._find(step, own)
        return dict(self._found[name])

    def queue_of(self, step: PlannedStep) -> str:
        """Return the name of the queue that a step goes to."""
        return self._queue_in(self.options_of(step))

    def lane_of(self, step: PlannedStep) -> str:
        """Return the name of what is first in, first out: a queue, or the messages of one priority in it."""
        options = self.options_of(step)
        priority = options.get("priority")
        return self._queue_in(options) + ("" if priority is None else f"{PRIORITY_MARK}{priority}")

    def _queue_in(self, options: dict[str, Any]) -> str:
        queue = options.get("queue") or options.get("routing_key") or self._app.conf.task_default_queue
        return str(getattr(queue, "name", queue))

    def _is_fixed(self) -> bool:
        """Whether the routes look at a task's name alone, and the tasks are all there."""
        routes = self._app.amqp.router.routes or ()
        return self._app.finalized and all(isinstance(route, MapRoute) for route in routes)

    def _find(self, step: PlannedStep, own: Any) -> dict[str, Any]:
        task = self._app.tasks.get(step.task)
        is_batch = step.task == BATCH  # it goes where its items would; what else they have is of one message
        theirs = self._app.tasks.get(_routed_name(step)) if is_batch else task
        options = {
            name: value
            for name, value in ({} if theirs is None else extract_exec_options(theirs)).items()
            if value is not None and (name in BATCH_OPTIONS if is_batch else name not in NOT_KEPT)
        }
        if any(name in own for name in PLACES):
            options = {name: value for name, value in options.items() if name not in PLACES}
        found: dict[str, Any] = self._app.amqp.router.route(
            {**options, **own}, _routed_name(step), step.args, step.kwargs or {}, task
        )
        return found


def _routed_name(step: PlannedStep) -> str:
    """Return the task that routes go by: for a map or a batch that of its items, as Celery does for a map."""
    return str(step.kwargs["task"]["task"]) if step.task in MAPS and step.kwargs else step.task


def parse_lane(lane: str) -> tuple[str, int | None]:
    """Return a lane's queue and priority."""
    queue, _, priority = lane.partition(PRIORITY_MARK)
    return queue, int(priority) if priority else None
