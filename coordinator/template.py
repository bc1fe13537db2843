"""The next step's message of a fan-out, made from the last one without Celery's and kombu's way to it.

Owns what differs between messages that are alike. Invariant: on the wire a message is what it
is by Celery's way; ``tests/integration/test_template.py`` compares. Who listens to Celery's
publish signals gets Celery's way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from amqp import Message
from celery import Celery, signals
from celery.utils.saferepr import saferepr
from kombu.utils import json

from coordinator.alike import UNSAID, Table, around_headers, short_text

#: Properties that stand between the headers and the id, one byte each.
BEFORE_ID = ("delivery_mode", "priority")
#: What may differ between the messages of one template.
OWN = {"task_id": None, "args": None, "kwargs": None}
JSON = ("application/json", "utf-8")
#: One for all: ``json.dumps`` makes one each time.
ENCODER = json.JSONEncoder()
SIGNALS = (signals.before_task_publish, signals.after_task_publish, signals.task_sent)
#: Of these Celery's safe text is the plain one.
PLAIN = frozenset({int, float, bool, type(None)})


class EncodedMessage:
    """A message as far as py-amqp's frame writer asks for it, with its properties encoded."""

    __slots__ = ("_properties", "body")

    def __init__(self, body: bytes, properties: bytes) -> None:
        self.body = body
        self._properties = properties

    def _serialize_properties(self) -> bytes:
        return self._properties


class _Encoded(NamedTuple):
    """The parts of a message around those that differ."""

    before: bytes
    headers: Table
    between: bytes
    after: bytes
    embedded: str


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
        self._own_headers = set(options["headers"])
        self._sent = sent

    @cached_property
    def _encoded(self) -> _Encoded:
        """What stays: most messages have none of their like after them."""
        properties = self._sent.properties
        headers = properties["application_headers"]
        varying = {"id", "argsrepr", "kwargsrepr", *self._own_headers} & headers.keys()
        before, after = around_headers(properties)
        id_at = sum(properties.get(name) is not None for name in BEFORE_ID)
        id_end = id_at + len(short_text(properties["correlation_id"]))
        embedded = json.dumps(json.loads(self._sent.body)[2])
        return _Encoded(before, Table(headers, varying), after[:id_at], after[id_end:], embedded)

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
            and UNSAID.keys().isdisjoint(options["headers"])
            and "compression" not in properties["application_headers"]
            and (properties["content_type"], properties["content_encoding"]) == JSON
        )
        return cls(app, name, message, options, sent) if is_plain else None

    def fits(self, name: str, message: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
        """Whether a message differs from it in nothing but id, arguments and values of its own headers."""
        return _without_own(name, message, options) == self._alike

    def make(self, message: Mapping[str, Any], options: Mapping[str, Any]) -> EncodedMessage:
        """Return a message that fits."""
        args, kwargs, task_id = message["args"] or (), message["kwargs"], message["task_id"]
        own = {"id": task_id, "argsrepr": self._argsrepr(args), "kwargsrepr": "{}", **options["headers"]}
        if kwargs:
            own["kwargsrepr"] = saferepr(kwargs, self._amqp.kwargsrepr_maxsize, maxlevels=self._levels)
        before, headers, between, after, embedded = self._encoded
        properties = (before, headers.of(own), between, short_text(task_id), after)
        body = f"{ENCODER.encode((args, kwargs))[:-1]}, {embedded}]"
        return EncodedMessage(body.encode(), b"".join(properties))

    def _argsrepr(self, args: Sequence[Any]) -> str:
        limit = self._amqp.argsrepr_maxsize
        if PLAIN.issuperset(map(type, args)) and len(text := repr(args)) <= limit:
            return text
        return str(saferepr(args, limit, maxlevels=self._levels))


def _without_own(name: str, message: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Any, ...]:
    return name, {**message, **OWN}, {**options, "headers": list(options.get("headers", ()))}
