"""What redis-py lacks where a signal's handler may raise at any place, as that of a soft time limit does.

Owns two repairs. Invariant: an answer is that of its own call, and no signal ends the process.
"""

from __future__ import annotations

import sys
from typing import Any

import redis
from redis.connection import HiredisRespSerializer


class Pool(redis.ConnectionPool):
    """A pool that lends no connection again on which something ended a call: its answer may still come."""

    def release(self, connection: Any) -> None:
        if sys.exc_info()[0] is not None:
            connection.disconnect()
        super().release(connection)


class Packer(HiredisRespSerializer):
    """Writes numbers as text before hiredis sees them.

    hiredis 3.5 ends the process with a segmentation fault where a signal's handler raises, as that of a
    soft time limit does, just while it makes text of a number.
    """

    def pack(self, *args: Any) -> Any:
        return super().pack(*[str(arg) if type(arg) in (int, float) else arg for arg in args])
