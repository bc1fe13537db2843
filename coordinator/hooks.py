"""``before_start``, ``on_success`` and ``after_return`` of a task class, as a step has them.

Owns when they are called. Invariant: of a step they are called around code that runs, with
the value that came before among the arguments; not for a message that finds its step recorded,
nor where the step has put a canvas in its place (as in Celery). ``on_failure`` and ``on_retry`` need
no care: Celery calls them only for what ran.
"""

from __future__ import annotations

from typing import Any

from celery.app.task import Task
from celery.states import SUCCESS

from coordinator.dispatcher import HEADER

NAMES = ("before_start", "on_success", "after_return")


class Hooks:
    """Stands in front of a task's class; ``request.fence`` says that the step may run."""

    request: Any

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Leave it to the attempt, which calls again: Celery calls before a step has lease and value."""
        if not self._is_step() or getattr(self.request, "fence", None):
            super().before_start(task_id, args, kwargs)  # type: ignore[misc]

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        if not self._is_step() or self._is_recorded():
            super().on_success(retval, task_id, args, kwargs)  # type: ignore[misc]

    def after_return(self, status: str, retval: Any, task_id: str, *rest: Any) -> None:
        if status != SUCCESS or not self._is_step() or self._is_recorded():
            super().after_return(status, retval, task_id, *rest)  # type: ignore[misc]

    def _is_step(self) -> bool:
        return getattr(self.request, HEADER, None) is not None

    def _is_recorded(self) -> bool:
        return getattr(self.request, "is_recorded", False)


def has_hooks(own: type) -> bool:
    """Whether a task class has any of them."""
    return any(getattr(own, name) is not getattr(Task, name) for name in NAMES)
