"""A connection that is tried once: a check must answer soon, whatever is away."""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as NoAnswer
from redis.retry import Retry

from coordinator.reach import CONNECT_S, unreachable
from coordinator.settings import nodes_of

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


def silence(url: str) -> str:
    """Return why no node of a Redis answers though somebody listens there, or an empty text."""
    fault = ""
    for node in nodes_of(url):
        try:
            with once(node) as client:
                client.ping()
        except NoAnswer as error:
            fault = f"it is connected to, and does not answer: {error}"
        except (RedisError, OSError):
            continue
        else:
            return ""
    return fault
