"""The journal as a Celery result backend.

Owns what Celery asks and says about a step's result. Invariant: the journal is
the one truth. ``AsyncResult(step_id)`` and Flower read it, and what Celery's
parent process finds out by itself (a hard time limit, a revoke) fails the step
there. A step is said to have succeeded only when what follows was sent too.
Tasks that belong to no job behave exactly as on Celery's Redis backend, and on a
Redis Cluster, for which Celery has none, as on its plain key-value backends.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import states
from celery.backends.base import KeyValueStoreBackend
from celery.backends.redis import RedisBackend
from celery.exceptions import TaskRevokedError
from celery.exceptions import TimeoutError as CeleryTimeoutError
from kombu.utils.json import loads

from coordinator.attempt import owner_of
from coordinator.dispatcher import HEADER
from coordinator.errors import JobNotFound, StateUnreachable, error_document
from coordinator.settings import redacted
from coordinator.state import parse_step_id
from coordinator.state.plans import FIRST_EPOCH

logger = logging.getLogger(__name__)

POLL_S = 0.1
_STATES = {
    "succeeded": states.SUCCESS,
    "failed": states.FAILURE,
    "running": states.STARTED,
    "pending": states.PENDING,
    "lost": states.REVOKED,
}
#: What Celery's worker says of a message that it refused to run, and what it means.
_UNBEGUN = {
    "expired": "the step expired before a worker took it (expires)",
    "revoked": "the step was revoked before a worker took it",
}


_Backend: Any = object


class Journal(_Backend):
    """Any backend of Celery's, which finds the results of steps in the journal."""

    def store_result(
        self, task_id: Any, result: Any, state: str, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> Any:
        """Leave steps' results to the journal; fail those of which only Celery knows that they failed."""
        if not isinstance(task_id, str):  # of a malformed message: there is nobody to tell
            return result
        step = self._step(task_id)
        if step is None:
            return super().store_result(
                task_id, result, state, traceback=traceback, request=request, **kwargs
            )
        if state not in states.ALL_STATES:  # a state of the task's own: ``update_state``
            return super().store_result(task_id, result, state, traceback=traceback, request=request)
        if getattr(request, "is_told", False):  # by the attempt itself: the job may have been retried since
            return result
        if state in (states.FAILURE, states.REVOKED) and request is not None:
            error = result if isinstance(result, BaseException) else RuntimeError(str(result))
            is_unbegun = str(error) in _UNBEGUN
            document = error_document(getattr(request, "task", "") or "", task_id, error)
            owner = "?" if is_unbegun else owner_of(getattr(request, "hostname", None) or "")
            document["message"] = _UNBEGUN.get(str(error), document["message"])
            # In the process that ran it the attempt is known: a later one of this worker must not fail by it.
            fence = getattr(request, "fence", None)
            header = getattr(request, HEADER, None) or {}
            says = {"epoch": header.get("epoch", FIRST_EPOCH), "phase": header.get("phase", "")}
            try:
                self.app.parts.state.fail(*step, document, attempt=fence, owner=owner, **says)
            except StateUnreachable as error:  # the message must go all the same; the step is sent again
                logger.warning("failure-not-recorded: %s: %s", task_id, error)
        return result

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        step = self._step(task_id)
        if step is None:
            return super()._get_task_meta_for(task_id)  # type: ignore[no-any-return]
        state = self.app.parts.state
        try:
            outcome, text = state.outcome(*step)
        except JobNotFound:
            outcome, text = "pending", None
        if outcome == "running":
            own = self._own_state(task_id)
            if own is not None:
                return own
        meta = {"task_id": task_id, "status": _STATES[outcome], "result": None, "children": []}
        if outcome == "succeeded":
            meta["result"] = state.value_of_record(*step, text)
        elif outcome == "lost":
            meta["result"] = TaskRevokedError("the step lost its race")
        elif outcome == "failed":
            error = loads(text or "{}")
            meta["result"] = {
                "exc_type": error["type"],
                "exc_message": [error["message"]],
                "exc_module": "builtins",
            }
            meta["traceback"] = error["traceback"]
        return self.meta_from_decoded(meta)  # type: ignore[no-any-return]

    def _own_state(self, task_id: str) -> dict[str, Any] | None:
        """Return what ``update_state`` said of a running step, where a backend keeps it."""
        if not hasattr(super(), "_get_task_meta_for"):  # no result_backend at all
            return None
        own: dict[str, Any] = super()._get_task_meta_for(task_id)
        return None if own["status"] in states.ALL_STATES else own

    def add_pending_result(self, result: Any, *args: Any, **kwargs: Any) -> Any:
        """Subscribe to nothing for a step: nobody publishes there."""
        if self._step(result.id) is None:
            return super().add_pending_result(result, *args, **kwargs)
        return result

    def wait_for_pending(
        self,
        result: Any,
        timeout: float | None = None,
        propagate: bool = True,
        on_interval: Any = None,
        interval: float = POLL_S,
        **kwargs: Any,
    ) -> Any:
        """Wait for a step by looking at the journal."""
        if self._step(result.id) is None:
            return super().wait_for_pending(
                result, timeout=timeout, propagate=propagate, on_interval=on_interval, **kwargs
            )
        ends = None if timeout is None else time.monotonic() + timeout
        while result.state not in states.READY_STATES:
            if ends is not None and time.monotonic() > ends:
                raise CeleryTimeoutError(f"{result.id} did not end within {timeout:g} s")
            if on_interval:
                on_interval()
            time.sleep(interval)
        return result.maybe_throw(propagate=propagate)

    @staticmethod
    def _step(task_id: str) -> tuple[str, str] | None:
        return parse_step_id(task_id)


class JournalBackend(Journal, RedisBackend):
    """Celery's Redis backend with the journal."""


class ClusterBackend(Journal, KeyValueStoreBackend):
    """A Redis Cluster with the journal; tasks that belong to no job have a key each there.

    Their results are polled for, and their chords counted one by one, as with Celery's memcached backend.
    """

    implements_incr = True
    supports_autoexpire = True
    supports_native_join = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, expires_type=int, **kwargs)

    @property
    def client(self) -> Any:
        return self.app.parts.state.client

    def as_uri(self, include_password: bool = False) -> str:
        url = self.app.parts.settings.redis_url
        return str(url if include_password else redacted(url))

    def get(self, key: Any) -> Any:
        return self.client.get(key)

    def mget(self, keys: Any) -> Any:
        return self.client.mget_nonatomic(keys)

    def set(self, key: Any, value: Any) -> None:
        self.client.set(key, value, ex=self.expires or None)

    def delete(self, key: Any) -> None:
        self.client.delete(key)

    def incr(self, key: Any) -> int:
        return int(self.client.incr(key))

    def expire(self, key: Any, value: Any) -> None:
        self.client.expire(key, value) if value else self.client.persist(key)
