"""Call what was given to ``link_error`` when a job has failed.

Owns the one step that does so. Invariant: it is a step like any other, sent by the
script that fails the job, so it is called once, and again if it is killed. As in
Celery, a task of several arguments gets (request, exception, traceback), any other
the id of the step that failed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from celery import Celery, Signature
from celery.app.task import Context

from coordinator.draft import ERRBACK
from coordinator.step import Step


def register(app: Celery) -> None:
    """Register the task on an app."""

    @app.task(name=ERRBACK, bind=True, shared=False)
    def errback(self: Step, errback: dict[str, Any]) -> Any:
        sig = Signature.from_dict(errback, app=self.app)
        error = self.parts.state.status(self.job_id or "").error or {}
        return sig.type.run(*_arguments(self, sig, error), *sig.args, **sig.kwargs)


def _takes_exception(step: Step, sig: Signature) -> bool:
    header = getattr(sig.type, "__header__", None)
    if header is None or isinstance(header, partial):  # a bound task: retries need it to be called as a task
        return False
    return bool(step.app.backend._errback_arity_greater(sig, 1))


def _arguments(step: Step, sig: Signature, error: dict[str, Any]) -> tuple[Any, ...]:
    if sig.immutable:
        return ()
    if not _takes_exception(step, sig):
        return (error.get("step"),)
    request = Context(id=error.get("step"), task=error.get("task"), root_id=step.job_id)
    document = {
        "exc_type": error.get("type", "Exception"),
        "exc_message": [error.get("message", "")],
        "exc_module": "builtins",
    }
    return request, step.app.backend.exception_to_python(document), error.get("traceback", "")
