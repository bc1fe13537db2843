"""A step's record: its value as the journal keeps it, and who made it when.

Owns the form ``[value, attempt, started (ms), runtime (ms), worker]``, with one word more where the value
lies apart and its place is in the record. ``Journal.value_of_record`` and ``state/lua`` read it.
"""

from __future__ import annotations

from typing import Any

from kombu.utils.json import dumps

from coordinator import blobs
from coordinator.errors import BatutaError
from coordinator.settings import Settings
from coordinator.values import written


def record_of(settings: Settings, value: Any, tail: list[Any], what: str) -> str:
    """Return the record of a value, which lies apart where it is too large.

    Args:
        value: a JSON value.
        tail: what stands behind it.
        what: how an error names it: ``the result of …``.

    Raises:
        BatutaError: it is no JSON value.
        StepTooLarge: it is too large, and there is no place apart.
    """
    try:
        text = written(value)
    except (TypeError, ValueError) as error:
        raise BatutaError(f"{what} must be a JSON value: {error}") from error
    if len(text) <= settings.result_limit_bytes:
        return f"[{text},{dumps(tail)[1:]}"
    return str(dumps([blobs.store(settings, text, what), *tail, "apart"]))
