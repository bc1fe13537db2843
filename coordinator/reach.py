"""Find out fast whether anybody listens at a URL.

Owns one question, which the clients' own retries answer only after seconds. Leaves
who listens, and whether it lets us in, to those clients.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

PORTS = {"amqp": 5672, "pyamqp": 5672, "amqps": 5671, "redis": 6379, "rediss": 6379}
CONNECT_S = 1.0


def unreachable(url: str) -> str:
    """Return why nobody can be reached at a URL, or an empty text; several addresses are parted by ``;``."""
    fault = ""
    for address in url.split(";"):
        parts = urlsplit(address)
        try:
            place = (parts.hostname or "localhost", parts.port or PORTS.get(parts.scheme, 0))
            socket.create_connection(place, CONNECT_S).close()
        except (OSError, ValueError) as error:
            fault = f"{type(error).__name__}: {error}" if not str(error) else str(error)
        else:
            return ""
    return fault
