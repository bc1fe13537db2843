"""Messages that are mostly alike: what one says as the one before is not made again.

Two of them: ``AlikeMessage`` keeps the bytes of each header, and ``Template`` makes the next step's
message of a fan-out from the last, without Celery's and kombu's way to it. Invariant: on the wire
they are what Celery, kombu and py-amqp would have made; ``tests/unit/test_alike.py`` and
``tests/integration/test_alike.py`` compare. Who listens to Celery's publish signals gets Celery's way.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import pack
from typing import Any

from amqp import Message
from amqp.serialization import dumps
from celery import Celery, signals
from celery.utils.saferepr import saferepr
from kombu.utils import json

#: Entries kept; where that is not enough, it begins anew.
KEPT = 512

#: Properties that stand before the headers, and headers that are none.
BEFORE_HEADERS, EMPTY = ("content_type", "content_encoding"), pack(">I", 0)

#: What may differ between the messages of one template.
OWN = {"task_id": None, "args": None, "kwargs": None}
JSON = ("application/json", "utf-8")
SIGNALS = (signals.before_task_publish, signals.after_task_publish, signals.task_sent)

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


class Template:
    """A step's message, as it went out, from which those of its like are made.

    Args:
        app: the Celery application that made it.
        name, message, options: what it was made from: see ``Line.publish``.
        sent: the message itself.
    """

    def __init__(
        self, app: Celery, name: str, message: Mapping[str, Any], options: Mapping[str, Any], sent: Message
    ) -> None:
        self._amqp = app.amqp
        self._levels = app.conf.task_repr_maxlevels
        self._alike = _without_own(name, message, options)
        self._properties = sent.properties
        self._embedded = json.loads(sent.body)[2]

    @classmethod
    def of(
        cls, app: Celery, name: str, message: Mapping[str, Any], options: Mapping[str, Any], sent: Message
    ) -> Template | None:
        """Return a template, or None: somebody listens, or something in the message is of its moment."""
        properties = sent.properties
        is_plain = (
            not any(signal.receivers for signal in SIGNALS)
            and not app.conf.task_send_sent_event
            and "expires" not in message
            and "headers" in options
            and "compression" not in properties["application_headers"]
            and (properties["content_type"], properties["content_encoding"]) == JSON
        )
        return cls(app, name, message, options, sent) if is_plain else None

    def fits(self, name: str, message: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
        """Whether a message differs from it in nothing but id, arguments and values of its own headers."""
        return _without_own(name, message, options) == self._alike

    def make(self, message: Mapping[str, Any], options: Mapping[str, Any]) -> AlikeMessage:
        """Return a message that fits."""
        args, kwargs, task_id = message["args"] or (), message["kwargs"], message["task_id"]
        own = {
            "kwargsrepr": "{}",
            "id": task_id,
            "argsrepr": saferepr(args, self._amqp.argsrepr_maxsize, maxlevels=self._levels),
        }
        if kwargs:
            own["kwargsrepr"] = saferepr(kwargs, self._amqp.kwargsrepr_maxsize, maxlevels=self._levels)
        headers = {**self._properties["application_headers"], **own, **options["headers"]}
        properties = {**self._properties, "application_headers": headers, "correlation_id": task_id}
        return AlikeMessage(json.dumps((args, kwargs, self._embedded)).encode(), **properties)


def _without_own(name: str, message: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Any, ...]:
    return name, {**message, **OWN}, {**options, "headers": list(options.get("headers", ()))}


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
