"""Messages whose headers were mostly encoded before.

Owns the bytes of a message's properties. Invariant: they are what py-amqp would have made of
the headers that say something; ``tests/unit/test_alike.py`` compares. Whole messages that are alike
are ``template.py``'s.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from functools import lru_cache
from struct import pack
from typing import Any

from amqp import Message
from amqp.serialization import dumps

#: Entries kept; where that is not enough, it begins anew.
KEPT = 512
#: AMQP's longest short string.
MOST_SHORT_BYTES = 255
#: Properties that stand before the headers, and headers that are none.
BEFORE_HEADERS, NO_HEADERS = ("content_type", "content_encoding"), pack(">I", 0)
#: Celery's headers at values that a request has where they are missing. RabbitMQ decodes each header at each
#: publish, and the worker at each delivery. (Without ``ignore_result`` the worker asks the task.)
UNSAID: Mapping[str, Any] = {
    "shadow": None,
    "eta": None,
    "expires": None,
    "group": None,
    "group_index": None,
    "parent_id": None,
    "replaced_task_nesting": 0,
    "stamped_headers": None,
}

_kept: dict[tuple[str, str], bytes] = {}


class AlikeMessage(Message):
    """A message of which each header is encoded once for all that have the same, and what is unsaid never."""

    def __init__(
        self, body: Any = "", application_headers: Mapping[str, Any] | None = None, **more: Any
    ) -> None:
        said = {
            name: value
            for name, value in (application_headers or {}).items()
            if name not in UNSAID or value != UNSAID[name]
        }
        super().__init__(body, application_headers=said, **more)

    def _serialize_properties(self) -> bytes:
        headers = self.properties.get("application_headers")
        if not headers:
            return bytes(super()._serialize_properties())
        before, after = around_headers(self.properties)
        return before + table(b"".join([entry(name, value) for name, value in headers.items()])) + after


def around_headers(properties: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Return the encoded properties before and after the table of headers."""
    encoded = bytes(Message(**{**properties, "application_headers": {}})._serialize_properties())
    start = 2  # the flags; then the short strings that there are, each behind its length
    for name in BEFORE_HEADERS:
        if properties.get(name) is not None:
            start += 1 + encoded[start]
    return encoded[:start], encoded[start + len(NO_HEADERS) :]


def table(entries: bytes) -> bytes:
    """Return a table of encoded entries."""
    return pack(">I", len(entries)) + entries


def short_text(text: str) -> bytes:
    """Return an encoded short string: of 255 bytes at most."""
    encoded = shortened(text).encode()
    return bytes((len(encoded),)) + encoded


def shortened(text: str) -> str:
    """Return what of a text fits in a short string; of a task's id workers read the header, a long one."""
    return text.encode()[:MOST_SHORT_BYTES].decode("utf-8", "ignore")


def entry(name: str, value: Any) -> bytes:
    """Return one encoded entry of a table."""
    if type(value) is str:  # the ids are, and differ in each message
        text = value.encode("utf-8", "surrogatepass")
        return _name(name) + b"S" + pack(">I", len(text)) + text
    if value and isinstance(value, dict):
        return _name(name) + b"F" + table(b"".join([entry(*item) for item in value.items()]))
    key = (name, repr(value))  # tells True from 1
    found = _kept.get(key)
    if found is None:
        if len(_kept) >= KEPT:
            _kept.clear()
        found = _kept[key] = bytes(dumps("F", [{name: value}]))[len(NO_HEADERS) :]
    return found


class Table:
    """A table as it was encoded, from which others of its names are made.

    Args:
        values: what it held.
        varying: the names whose values may be others; of them, too, what can't change keeps its bytes.
    """

    def __init__(self, values: Mapping[str, Any], varying: Collection[str]) -> None:
        self._names = list(values)
        self._parts: list[tuple[str | None, Any, bytes]] = []  # name and value, or None for all that stays
        for is_varying, names in itertools.groupby(values, varying.__contains__):
            encoded = [(name, _constant(values[name]), entry(name, values[name])) for name in names]
            self._parts += encoded if is_varying else [(None, None, b"".join(e for _, _, e in encoded))]
        self._tables = {
            name: Table(values[name], values[name])
            for name in varying
            if isinstance(values[name], dict) and values[name]
        }

    def of(self, values: Mapping[str, Any]) -> bytes:
        """Return the encoded table with other values of what varies."""
        entries = []
        for name, known, encoded in self._parts:
            if name is None or values[name] is known:
                entries.append(encoded)
            else:
                entries.append(self._entry(name, values[name]))
        return table(b"".join(entries))

    def _entry(self, name: str, value: Any) -> bytes:
        inner = self._tables.get(name)
        if inner is not None and isinstance(value, dict) and list(value) == inner._names:
            return _name(name) + b"F" + inner.of(value)
        return entry(name, value)


def _constant(value: Any) -> Any:
    """Return a value by which it is known again, or an object that no value is: it may change meanwhile."""
    try:
        hash(value)
    except TypeError:
        return object()
    return value


_name = lru_cache(KEPT)(short_text)
