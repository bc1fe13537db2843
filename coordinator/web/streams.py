"""A job's events as server-sent events.

Owns the stream's form and its end. Invariant: an event has its Redis stream id,
so whoever connects again with Last-Event-ID misses nothing and sees nothing
twice; the stream ends with ``event: end`` once the job has ended.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict

from flask import Response
from redis.exceptions import RedisError

from coordinator.errors import BatutaError
from coordinator.states import Event
from coordinator.web.models import EventsQuery
from coordinator.web.operations import Api, validated

EVENT_STREAM = "text/event-stream"
#: Between two looks with nothing to say: a comment, by which a proxy sees that the line lives.
BEAT_S = 2.0
#: Then the browser connects again by itself, and a token that was taken back is noticed.
LONGEST_S = 300.0

logger = logging.getLogger(__name__)


def is_ending() -> bool:
    """Whether this process is to end; whoever serves it may say so, and streams end soon."""
    return False


def stream_events(api: Api, job: str, after: str) -> Response:
    """Return a response that goes on until the job has ended."""
    validated(EventsQuery, {"after": after}, "Last-Event-ID")
    api.coordinator.state_manager.state(job)
    api.slots.take()
    response = Response(_lines(api, job, after), content_type=EVENT_STREAM)
    response.call_on_close(api.slots.give_back)  # also when the reader has gone, or nothing was read
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _lines(api: Api, job: str, after: str) -> Iterator[str]:
    state = api.coordinator.state_manager
    key = state.keys.named(job, "e")[0]
    ends = time.monotonic() + LONGEST_S
    yield "retry: 1000\n\n"
    try:
        while time.monotonic() < ends and not is_ending():
            present = state.state(job)  # looked at before the events: the last of them is then among these
            for event in state.events(job, after):
                after = event.id
                yield _event(event)
            if present.is_terminal:
                yield f'event: end\ndata: {{"state": "{present}"}}\n\n'
                return
            if not state.client.xread({key: after}, count=1, block=round(BEAT_S * 1000)):
                yield ": still here\n\n"
    except (BatutaError, RedisError) as error:  # the answer has begun: the reader connects again
        logger.warning("stream-broken", extra={"job": job, "error": str(error)})


def _event(event: Event) -> str:
    return f"id: {event.id}\nevent: {event.event}\ndata: {json.dumps(asdict(event))}\n\n"
