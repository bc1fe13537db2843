"""JSON values as Batuta keeps them. Pure.

Owns how a value becomes text. Invariant: what was written can be read back: kombu takes an
object of ``__type__`` and ``__value__`` for a value of that type, and raises where it knows none.
"""

from __future__ import annotations

from typing import Any

from kombu.utils.json import dumps, loads


def written(value: Any) -> str:
    """Return a value as JSON text.

    Raises:
        TypeError, ValueError: it is no JSON value, or could not be read back.
    """
    text = str(dumps(value))
    if '"__type__"' in text:
        try:
            loads(text)
        except Exception as error:  # whatever the decoder of a type raises for a value that is none of it
            raise ValueError(f"an object of __type__ and __value__ can't be read back: {error!r}") from error
    return text
