"""From the stream of alerts to one small job for each delivery.

Owns the place up to which each shard's alerts were handed on. Invariant: an
alert is handed on at least once, for its place moves only afterwards; and once
only, for the id of its job is made of the alert's and the channel's. So a crash
at any place loses nothing, and a dead channel holds up nothing but itself.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from celery import Signature
from kombu.utils.json import dumps

from coordinator.alerting.rules import Alert, Rules
from coordinator.errors import BrokerUnreachable
from coordinator.own_jobs import record_own
from coordinator.parts import Parts
from coordinator.state.overview import INTERNAL

#: The kind of the jobs that deliver, and what their ids start with.
KIND = f"{INTERNAL}alert"
DELIVER = f"{INTERNAL}deliver"
#: An alert goes before the jobs' steps, where the queue knows priorities: it takes little, and people wait.
FIRST = 9
#: Read from a shard at one tick.
AT_ONCE = 25
#: Where nobody has handed anything on yet: older alerts than this are news no more.
FIRST_LOOK_BACK_S = 3600

logger = logging.getLogger("coordinator.alerts")


class Relay:
    """Hands new alerts on. For one thread."""

    def __init__(self, parts: Parts, rules: Rules, names: Sequence[str]) -> None:
        self._parts = parts
        self._state = parts.state
        self._client = parts.state.client
        self._rules = rules
        self._names = names
        self._places = f"{parts.settings.prefix}:alerts:places"
        self._can_send = True

    def hand_on(self) -> None:
        """Make a job of each delivery that a new alert asks for."""
        if not self._names:
            return
        self._can_send = True
        for shard, alerts in self._new().items():
            for alert, kind in zip(alerts, self._kinds(alerts), strict=True):
                if kind.startswith(INTERNAL):
                    logger.error("alert-not-delivered: %s", alert.message)
                else:
                    self._hand_on(alert, kind)
            self._client.hset(self._places, str(shard), alerts[-1].id.partition("-")[2])

    def _new(self) -> dict[int, list[Alert]]:
        places = {int(shard): place.decode() for shard, place in self._client.hgetall(self._places).items()}
        first = str(self._state.now_ms() - FIRST_LOOK_BACK_S * 1000)
        pipe = self._client.pipeline(transaction=False)
        for shard in self._state.shards:
            start = f"({places[shard]}" if shard in places else first
            pipe.xrange(self._state.keys.index(shard, "alerts"), min=start, count=AT_ONCE)
        found = {}
        for shard, entries in zip(self._state.shards, pipe.execute(), strict=True):
            if entries:
                found[shard] = [Alert.of_entry(shard, stamp.decode(), _text(text)) for stamp, text in entries]
        return found

    def _kinds(self, alerts: list[Alert]) -> list[str]:
        pipe = self._client.pipeline(transaction=False)
        for alert in alerts:
            pipe.hget(self._state.keys.named(alert.job, "m")[0], "kind")
        return [kind.decode() if kind else "" for kind in pipe.execute()]

    def _hand_on(self, alert: Alert, kind: str) -> None:
        for channel in self._rules.wanted_by(alert, kind, self._names):
            more = self._held_before(channel, alert, kind)
            if more is not None:
                self._submit(channel, replace(alert, more=more))

    def _held_before(self, channel: str, alert: Alert, kind: str) -> int | None:
        """Return how many like it were held back before, or None where this one is held back."""
        if not self._rules.window_s:
            return 0
        likeness = "|".join((channel, alert.alert, kind, _likeness(alert)))
        digest = hashlib.sha256(likeness.encode("utf-8", "replace")).hexdigest()[:32]
        seen = f"{self._parts.settings.prefix}:alerts:seen:{digest}"
        first = self._client.set(seen, alert.id, nx=True, get=True, ex=self._rules.window_s)
        if (
            first is not None and first.decode() != alert.id
        ):  # its own id: a crash came before its place moved
            self._client.incr(f"{seen}:held")
            self._client.expire(f"{seen}:held", 86400)
            return None
        return int(self._client.getdel(f"{seen}:held") or 0)

    def _submit(self, channel: str, alert: Alert) -> None:
        job = f"{KIND}/{alert.id}/{channel}"
        arguments = {"alert": asdict(alert), "channel": channel}
        options: dict[str, Any] = {"priority": self._parts.priority_of(FIRST)}
        if self._rules.queue:
            options["queue"] = self._rules.queue
        deliver = Signature(DELIVER, kwargs=arguments, options=options, immutable=True)
        plan = record_own(self._parts, job, KIND, deliver, params=dumps(arguments))
        if plan is None or not self._can_send:
            return  # what was recorded and not sent, the reconciler sends from the outbox
        try:
            self._parts.outbox.send_first(job, plan)
        except BrokerUnreachable as error:
            self._can_send = False  # not once more in this tick: each try takes seconds
            logger.warning("alerts wait for the broker: %s", error)


def _likeness(alert: Alert) -> str:
    text = alert.message.replace(alert.job, "") if alert.job else alert.message
    return re.sub(r"\[\d+\]", "[]", text)  # whichever part of a header it was


def _text(fields: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}
