"""Encode messages that are mostly alike: each header's bytes are kept, and made anew only where it differs.

The steps of a fan-out say the same in nearly all of their headers, and py-amqp's encoding of
those took more than a third of the time of publishing. Invariant: the bytes are those that
py-amqp makes; ``tests/unit/test_alike.py`` compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import pack
from typing import Any

from amqp import Message
from amqp.serialization import dumps

#: Entries kept; where that is not enough, it begins anew.
KEPT = 512

#: Properties that stand before the headers, and headers that are none.
BEFORE_HEADERS, EMPTY = ("content_type", "content_encoding"), pack(">I", 0)

_kept: dict[tuple[str, str], bytes] = {}


class AlikeMessage(Message):
    """A message whose headers were mostly encoded before."""

    def _serialize_properties(self) -> bytes:
        headers = self.properties.get("application_headers")
        if not headers:
            return bytes(super()._serialize_properties())
        self.properties["application_headers"] = {}
        try:
            encoded = bytes(super()._serialize_properties())
        finally:
            self.properties["application_headers"] = headers
        # After the flags come the short strings that there are, each behind its length; then the table.
        start = 2
        for name in BEFORE_HEADERS:
            if self.properties.get(name) is not None:
                start += 1 + encoded[start]
        return encoded[:start] + _table(headers) + encoded[start + len(EMPTY) :]


def _table(headers: Mapping[str, Any]) -> bytes:
    entries = b"".join([_entry(name, value) for name, value in headers.items()])
    return pack(">I", len(entries)) + entries


def _entry(name: str, value: Any) -> bytes:
    if type(value) is str:  # the ids are, and differ in each message
        text = value.encode("utf-8", "surrogatepass")
        return _name(name) + b"S" + pack(">I", len(text)) + text
    if value and isinstance(value, dict):
        return _name(name) + b"F" + _table(value)
    key = (name, repr(value))  # tells True from 1
    found = _kept.get(key)
    if found is None:
        if len(_kept) >= KEPT:
            _kept.clear()
        found = _kept[key] = bytes(dumps("F", [{name: value}]))[4:]
    return found


@lru_cache(KEPT)
def _name(name: str) -> bytes:
    return bytes(dumps("s", [name]))
