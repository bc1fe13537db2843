"""A connection that is tried once: a check must answer soon, whatever is away."""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from coordinator.reach import CONNECT_S, unreachable

ANSWER_S = 1.5


def once(url: str) -> Any:
    """Return a client of one Redis node that neither waits nor tries again.

    Raises:
        OSError: nobody listens there.
    """
    fault = unreachable(url)
    if fault:
        raise OSError(fault)
    options: dict[str, Any] = {"socket_connect_timeout": CONNECT_S, "socket_timeout": ANSWER_S}
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options)
