"""Read a Celery signature: what it is, and which of its options a plan keeps. Pure.

Owns the list of options that are kept, left to the plan, or refused. Invariant:
no option is dropped in silence; a refusal names the path of its signature.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from celery import Task
from celery.canvas import Signature, group, maybe_signature

from coordinator.errors import UnsupportedCanvas
from coordinator.values import written

KEPT_OPTIONS = frozenset(
    {
        "queue",
        "routing_key",
        "exchange",
        "exchange_type",
        "priority",
        "time_limit",
        "soft_time_limit",
        "expires",
        "countdown",
        "retries",
        "headers",
        "shadow",
        "compression",
        "stamped_headers",
    }
)
#: Identity and bookkeeping that Celery leaves on a signature, for which the plan gives its own, and how
#: to publish, which is the dispatcher's: results and messages are JSON, and confirmed.
IGNORED_OPTIONS = frozenset(
    {
        "task_id",
        "reply_to",
        "root_id",
        "parent_id",
        "group_id",
        "group_index",
        "ignore_result",
        "add_to_parent",
        "serializer",
        "delivery_mode",
        "producer",
        "publisher",
        "connection",
        "retry",
        "retry_policy",
        "replaced_task_nesting",
        "chord",  # left behind by freeze()
        "link",  # compiled by itself
        "link_error",
    }
)

#: Any value of these is written as JSON, and read back.
PLAIN = frozenset({str, float, bool, type(None)})


def signature_of(canvas: Any, path: str) -> Signature:
    """Return a canvas, or its dict form, as a signature."""
    try:
        sig = maybe_signature(canvas)
    except (KeyError, TypeError, ValueError) as error:
        raise UnsupportedCanvas(f"{path}: expected a Celery signature, got {canvas!r}", path=path) from error
    if not isinstance(sig, Signature):
        raise UnsupportedCanvas(f"{path}: expected a Celery signature, got {described(canvas)}", path=path)
    if not isinstance(sig.get("task"), str):
        raise UnsupportedCanvas(f"{path}: expected a Celery signature, got {canvas!r:.200}", path=path)
    return sig


def described(value: Any) -> str:
    """Return what somebody gave in place of a signature, with what to write where that is plain."""
    if isinstance(value, Task):
        return f"the task {value.name}; write {value.name.rpartition('.')[2]}.s(…)"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__}; make it a group or a chain"
    return type(value).__name__


def options_of(sig: Signature, path: str) -> dict[str, Any]:
    """Return the options of a signature that a plan keeps.

    Raises:
        UnsupportedCanvas: an option can't be kept.
    """
    options = sig.get("options")
    if not options:
        return {}
    kept: dict[str, Any] = {}
    stamps = set(options.get("stamped_headers") or ())
    for name, value in options.items():
        is_right, wanted = _CHECKED.get(name, (None, ""))
        if is_right and value is not None and not is_right(value):
            raise UnsupportedCanvas(
                f"{path}: expected the option {name!r} of {sig.task} to be {wanted}, got {value!r}", path=path
            )
        if name in KEPT_OPTIONS or name in stamps:
            kept[name] = value
        elif name == "eta" and value is not None:
            kept["eta_ms"] = _eta_ms(value, sig, path)
        elif name not in IGNORED_OPTIONS and value not in (None, [], {}):
            raise UnsupportedCanvas(
                f"{path}: a durable job can't keep the option {name!r} of {sig.task}; take it off",
                path=path,
            )
    return kept


def linked(sig: Signature, name: str, path: str) -> tuple[Signature, ...]:
    """Return the signatures of the option ``link`` or ``link_error``."""
    found = (sig.get("options") or {}).get(name)
    if not found:
        return ()
    if isinstance(found, Mapping):  # one signature, as a dict or by itself
        found = (found,)
    return tuple(signature_of(one, f"{path}.{name}[{number}]") for number, one in enumerate(found))


def members(
    tasks: Iterable[Any], path: str, options: Mapping[str, Any]
) -> Iterator[tuple[Signature, str, Mapping[str, Any]]]:
    """Yield what runs in parallel: as in Celery, a group in a group is flattened and empty ones are gone."""
    for number, task in enumerate(tasks):
        where = f"{path}[{number}]"
        sig = signature_of(task, where)
        if isinstance(sig, group):
            yield from members(sig.tasks, f"{where}.group", {**options_of(sig, where), **options})
        elif not is_empty(sig):
            yield sig, where, options


def tasks_of_chain(sig: Signature, path: str) -> Iterator[tuple[Signature, str]]:
    """Yield the tasks of a chain: as in Celery, a group of one is that one."""
    for number, task in enumerate(sig.tasks):
        where = f"{path}.chain[{number}]"
        inner = signature_of(task, where)
        if isinstance(inner, group) and len(inner.tasks) == 1:
            where = f"{where}.group[0]"
            inner = signature_of(inner.tasks[0], where)
        yield inner, where


def is_empty(sig: Signature) -> bool:
    """Whether a signature is a group or a chain of nothing."""
    return sig.get("subtask_type") in ("group", "chain") and not list(sig.tasks)


def are_plain(args: Iterable[Any]) -> bool:
    """Whether arguments are JSON values beyond doubt: a look that takes far less time than to write them."""
    return all(type(arg) in PLAIN or (type(arg) is int and arg.bit_length() <= 64) for arg in args)


def refuse_unless_json(value: Any, task: str, path: str) -> None:
    """Refuse arguments and options that can't be written as JSON."""
    try:
        written(value)
    except (TypeError, ValueError) as error:
        raise UnsupportedCanvas(
            f"{path}: arguments and options of {task} must be JSON values; {error}", path=path
        ) from error


def _eta_ms(value: Any, sig: Signature, path: str) -> int:
    if isinstance(value, str) and _is_time(value):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise UnsupportedCanvas(f"{path}: expected eta to be a datetime, got {value!r}", path=path)
    if value.tzinfo is None:  # as in Celery, a time of the application's ``timezone``
        value = value.replace(tzinfo=sig.app.timezone)
    return round(float(value.timestamp()) * 1000)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, datetime) or bool(datetime.fromisoformat(value))
    except (TypeError, ValueError):
        return False


#: Options that would otherwise be found wrong only by the worker, which drops their message.
_CHECKED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "countdown": (_is_number, "seconds"),
    "time_limit": (_is_number, "seconds"),
    "soft_time_limit": (_is_number, "seconds"),
    "expires": (lambda value: _is_number(value) or _is_time(value), "seconds or a time"),
    "priority": (lambda value: _is_count(value) and value <= 255, "a whole number from 0 to 255"),
    "retries": (_is_count, "a whole number from 0"),
    "headers": (lambda value: isinstance(value, Mapping), "an object"),
}
