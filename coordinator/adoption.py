"""Make a step of a task, whatever its class.

Owns the class that a task gets. Invariant: what a project's own class overrides goes on being called,
for steps and for other messages: ``__call__`` and the hooks, ``retry`` and ``replace``, which find a step's
behind them as ``super()``. How messages that belong to no job are treated stays as the task had it.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery
from celery.app.task import Task
from celery.utils.imports import symbol_by_name
from celery.utils.objects import mro_lookup
from celery.worker.request import Request

from coordinator.hooks import Hooks, has_hooks
from coordinator.step import Durable, Step, StepRequest

logger = logging.getLogger(__name__)
_told_of: set[type] = set()

#: What stays as the task had it: these say how messages that belong to no job are treated.
_KEPT = (
    "abstract",
    "acks_late",
    "reject_on_worker_lost",
    "acks_on_failure_or_timeout",
    "store_errors_even_if_ignored",
)
#: Where a task's ``__call__`` is Celery's own: as written, and as a worker replaces it at its start.
CELERYS_CALL = ("celery.app.task", "celery.app.trace")


def adopted(task: Any) -> Any:
    """Return a task that is a step where its message says so, with its hooks called when they should be."""
    own = type(task)
    _say_what_is_passed_over(own)
    if issubclass(own, Hooks) or (issubclass(own, Step) and not has_hooks(own)):
        return task
    bases: tuple[type, ...] = (Hooks, own)
    if not issubclass(own, Step):  # behind all of the project's own classes: what they call as ``super()``
        bases = (Hooks, Step, *(base for base in own.__mro__ if base not in Task.__mro__), Durable)
    task.__class__ = type(own.__name__, bases, {**_kept(own), "__module__": own.__module__})
    return task


def _say_what_is_passed_over(own: type) -> None:
    """Tell once of a class that sends its tasks in its own way: nobody calls that for a step."""
    where = next(base for base in own.__mro__ if "apply_async" in vars(base))
    if where is not Task and where not in _told_of:
        _told_of.add(where)
        logger.warning(
            "apply-async-passed-over: %s.%s sends tasks in its own way, steps of jobs are sent without it; "
            "set what it adds on the signature, or by the signal before_task_publish",
            where.__module__,
            where.__qualname__,
        )


def _kept(own: Any) -> dict[str, Any]:
    if issubclass(own, Step):
        return {}
    kept = {name: getattr(own, name) for name in _KEPT if hasattr(own, name)}
    request = symbol_by_name(getattr(own, "Request", Request))
    base = StepRequest if issubclass(StepRequest, request) else type("Request", (StepRequest, request), {})
    if mro_lookup(own, "__call__", stop={Task, object}, monkey_patched=CELERYS_CALL):
        kept["body"] = own.__call__  # a class that calls its tasks in its own way goes on doing so
    return {**kept, "Request": base, "own_strategy": own.Strategy}


def adopt_all(app: Celery) -> None:
    """Adopt the tasks that an application has."""
    for task in list(app.tasks.values()):
        adopted(task)


def adopt_later_tasks(app: Celery) -> None:
    """Adopt the tasks that are made from now on."""
    make, register = app._task_from_fun, app.register_task
    app._task_from_fun = lambda *args, **options: adopted(make(*args, **options))
    app.register_task = lambda *args, **options: adopted(register(*args, **options))
