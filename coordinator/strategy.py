"""What a worker does with a message before it becomes a request: refuse it where it is malformed.

Owns the check of what comes out of a queue. Invariant: a message that neither Celery
nor a dispatcher can have written is rejected, with its reason in the log (and goes to
the queue's dead-letter exchange, where it has one). Celery's own strategy, which takes
it from there, would let some of them end the worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from celery.exceptions import InvalidTaskError
from celery.utils.imports import symbol_by_name
from celery.worker.strategy import default
from kombu.exceptions import ContentDisallowed, DecodeError

from coordinator import tracing
from coordinator.dispatcher import HEADER
from coordinator.state import parse_step_id

#: How many words stand behind each that says what follows a step: see ``plan.PlannedStep.follow``.
FOLLOW_LENGTHS = {"join": 2, "win": 6, "up": 1, "next": 1, "end": 0}


def checked(task: Any, app: Any, consumer: Any, **kwargs: Any) -> Callable[..., Any]:
    """Return Celery's handler of a task's messages, behind a check of each."""
    own = symbol_by_name(getattr(task, "own_strategy", default))
    handle: Callable[..., Any] = own(task, app, consumer, **kwargs)
    handle_step: Callable[..., Any] = default(Late(task), app, consumer, **kwargs)
    is_traced = tracing.is_on()

    def checked_handle(message: Any, body: Any, *args: Any, **more: Any) -> Any:
        try:
            payload = message.payload if body is None else body
            if not (isinstance(payload, Mapping) and "args" in payload):  # Celery's first protocol has none
                _check_body(payload)
                _check_headers(message.headers)
            is_step = body is None and _is_step(message.headers or {})
        except (InvalidTaskError, ContentDisallowed, DecodeError):
            raise
        except Exception as error:  # whatever decoding nonsense may raise
            raise InvalidTaskError(f"malformed message: {error!r}") from error
        if is_step and is_traced:
            tracing.adopt(message.headers)
        return (handle_step if is_step else handle)(message, body, *args, **more)

    return checked_handle


class Late:
    """A task as its steps are treated, however it treats other messages."""

    acks_late = True
    reject_on_worker_lost = True
    acks_on_failure_or_timeout = True

    def __init__(self, task: Any) -> None:
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._task(*args, **kwargs)


def _is_step(headers: dict[str, Any]) -> bool:
    """Whether a message is a step's; the header of another, which a task handed on, is taken off."""
    header = headers.get(HEADER)
    if header is None:
        return False
    if parse_step_id(headers["id"]) == (header["job"], header["key"]):
        return True
    del headers[HEADER]  # ``apply_async(headers=self.request.headers)``: a task of its own
    return False


def _check_body(payload: Any) -> None:
    args, kwargs, embed = payload
    if not isinstance(args, list | tuple) or not isinstance(kwargs, Mapping):
        raise InvalidTaskError(f"expected arguments, got {payload!r:.200}")
    if not (embed is None or isinstance(embed, Mapping)):
        raise InvalidTaskError(f"expected an object behind the arguments, got {embed!r:.200}")


def _check_headers(headers: Mapping[str, Any]) -> None:
    if not isinstance(headers.get("id"), str):
        raise InvalidTaskError(f"expected a text as id, got {headers.get('id')!r:.200}")
    limits = headers.get("timelimit") or (None, None)
    if len(limits) != 2 or not all(limit is None or isinstance(limit, int | float) for limit in limits):
        raise InvalidTaskError(f"expected two numbers as time limits, got {limits!r:.200}")
    header = headers.get(HEADER)
    if header is None:
        return
    if not all(isinstance(header[name], str) for name in ("job", "key", "take", "phase")):
        raise InvalidTaskError(f"expected texts in the step's header, got {header!r:.200}")
    for what, *rest in header["follow"]:
        if len(rest) != FOLLOW_LENGTHS.get(what, len(rest)):
            raise InvalidTaskError(f"expected what follows the step, got {header['follow']!r:.200}")
