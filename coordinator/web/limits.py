"""How much one caller may ask: requests in a minute, and connections that wait.

Owns the counts: ``<prefix>:api:<token>:<minute>`` in Redis, shared by all
processes, gone two minutes later; and the waiting slots of this process.
Invariant: a request that waits always leaves threads for those that don't.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from coordinator.state import StateManager
from coordinator.web.problems import ApiProblem

MINUTE_S = 60


class RateLimit:
    """Counts the requests of each token by the minute."""

    def __init__(self, state: StateManager, per_minute: int) -> None:
        self._state = state
        self._per_minute = per_minute

    def take(self, name: str) -> None:
        """Count a request.

        Raises:
            ApiProblem: 429, with the seconds until the next minute begins.
        """
        if not self._per_minute:
            return
        now_s = int(time.time())
        key = f"{self._state.keys.prefix}:api:{name}:{now_s // MINUTE_S}"
        pipe = self._state.client.pipeline(transaction=False)
        pipe.incr(key)
        pipe.expire(key, 2 * MINUTE_S)
        if pipe.execute()[0] > self._per_minute:
            left_s = MINUTE_S - now_s % MINUTE_S
            raise ApiProblem(
                429,
                "too-many-requests",
                f"expected at most {self._per_minute} requests a minute of {name}; go on in {left_s} s",
                headers={"Retry-After": str(left_s)},
            )


class WaitingSlots:
    """How many requests of this process may wait at once: streams of events, waits for a result."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._free = threading.BoundedSemaphore(most)

    def take(self) -> None:
        """Take a slot; ``give_back`` must follow.

        Raises:
            ApiProblem: 429, for all are taken.
        """
        if not self._free.acquire(blocking=False):
            raise ApiProblem(
                429,
                "too-many-waiting",
                f"{self._most} requests wait already in this process (COORDINATOR_API_WAITING)",
                headers={"Retry-After": "1"},
            )

    def give_back(self) -> None:
        self._free.release()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a slot for the length of a block."""
        self.take()
        try:
            yield
        finally:
            self.give_back()
