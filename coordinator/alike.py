"""Messages whose headers were mostly encoded before.

Owns the bytes of a message's properties. Invariant: they are what py-amqp would have made;
``tests/unit/test_alike.py`` compares. Whole messages that are alike are ``template.py``'s.
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
#: AMQP's longest short string.
MOST_SHORT_BYTES = 255
#: Properties that stand before the headers, and headers that are none.
BEFORE_HEADERS, NO_HEADERS = ("content_type", "content_encoding"), pack(">I", 0)

_kept: dict[tuple[str, str], bytes] = {}


class AlikeMessage(Message):
    """A message of which each header is encoded once for all that have the same."""

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
    return bytes(dumps("s", [shortened(text)]))


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


_name = lru_cache(KEPT)(short_text)
