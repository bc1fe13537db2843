"""Wait for the word that a job has ended: one subscription."""

from __future__ import annotations

from redis.client import PubSub
from redis.exceptions import RedisError


class Ending:
    """Waits for the word that a job has ended."""

    def __init__(self, listener: PubSub) -> None:
        self._listener = listener

    def wait(self, timeout_s: float) -> bool:
        """Return when the word came or time is up; False where the connection is lost."""
        try:
            self._listener.get_message(ignore_subscribe_messages=True, timeout=timeout_s)
        except RedisError:
            return False
        return True
