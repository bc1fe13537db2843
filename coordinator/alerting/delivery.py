"""The step that sends an alert to a channel, and how each channel is doing.

Owns, in Redis and so for all workers, a channel's failures in a row, when it may
be tried again, and its count of the minute. Invariant: a channel that is down is
tried by one step at a time, ever less often; what waits is a timer in Redis and
holds no worker. An alert that is older than ``give_up_s`` fails its step.
"""

from __future__ import annotations

import os
import random
from typing import Any

from celery import Celery

from coordinator.alerting.channels import DeliveryFailed, read_channels, send
from coordinator.alerting.relay import DELIVER
from coordinator.alerting.rounds import URLS, load
from coordinator.alerting.rules import Alert
from coordinator.errors import SettingsError
from coordinator.parts import Parts
from coordinator.step import Step

LONGEST_WAIT_S = 600
#: Until an alert is looked at again that met a worker whose rules or channels can't be used.
UNUSABLE_S = 60
#: How long one try may take before another step may try as well.
TRY_S = 30
MINUTE_S = 60


def register(app: Celery) -> None:
    """Register the step on an app."""

    @app.task(name=DELIVER, bind=True, max_retries=None, shared=False, soft_time_limit=TRY_S)
    def deliver(self: Step, alert: dict[str, Any], channel: str) -> str:
        return _deliver(self, Alert(**alert), channel)


def _deliver(step: Step, alert: Alert, name: str) -> str:
    try:
        rules, _ = load(os.environ)
    except SettingsError as error:  # another worker may know better, or this one once it is corrected
        step.retry(exc=error, countdown=UNUSABLE_S)
    line = Line(step.parts, name, rules.per_minute)
    wait_s = line.wait_s()
    if wait_s:
        step.retry(countdown=wait_s)
    try:
        url = read_channels(os.environ.get(URLS, "")).get(name)
        if url is None:
            raise DeliveryFailed(f"this worker knows no channel {name}; set {URLS} alike on all workers")
        send(name, url, alert)
    except DeliveryFailed as error:
        wait_s = line.failed()
        if step.parts.state.now_ms() - alert.at_ms > rules.give_up_s * 1000:
            raise
        step.retry(exc=error, countdown=wait_s)
    line.worked()
    return "sent"


class Line:
    """How one channel is doing."""

    def __init__(self, parts: Parts, name: str, per_minute: int) -> None:
        self._client = parts.state.client
        self._now_ms = parts.state.now_ms
        self._per_minute = per_minute
        self._key = f"{parts.settings.prefix}:alerts:line:{name}"

    def wait_s(self) -> float:
        """Return how long to wait before a try; 0 gives the right to try now."""
        failures = int(self._client.get(self._key) or 0)
        if failures:
            is_free = self._client.set(f"{self._key}:closed", "trying", nx=True, ex=TRY_S)
            if not is_free:
                left_ms = max(0, int(self._client.pttl(f"{self._key}:closed")))
                return left_ms / 1000 + random.uniform(0.1, 1)  # noqa: S311  spreads load, guards nothing
        return self._until_next_minute()

    def failed(self) -> float:
        """Note a failure; return how long nobody tries again."""
        failures = int(self._client.incr(self._key))
        self._client.expire(self._key, 2 * LONGEST_WAIT_S)
        wait_s = min(LONGEST_WAIT_S, 1 << min(failures - 1, 10))
        self._client.set(f"{self._key}:closed", "down", ex=wait_s)
        return wait_s

    def worked(self) -> None:
        """Note that the channel takes alerts."""
        self._client.delete(self._key, f"{self._key}:closed")

    def _until_next_minute(self) -> float:
        now_s: float = self._now_ms() / 1000
        key = f"{self._key}:{int(now_s) // MINUTE_S}"
        count = int(self._client.incr(key))
        self._client.expire(key, 2 * MINUTE_S)
        if count <= self._per_minute:
            return 0
        self._client.delete(f"{self._key}:closed")
        return MINUTE_S - now_s % MINUTE_S + random.uniform(0, 1)  # noqa: S311  spreads load, guards nothing
