"""Find out fast whether anybody listens at a URL.

Owns one question, which the clients' own retries answer only after seconds. Leaves
who listens, and whether it lets us in, to those clients.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from coordinator.settings import host_and_port, nodes_of

PORTS = {"amqp": 5672, "pyamqp": 5672, "amqps": 5671, "redis": 6379, "rediss": 6379}
CONNECT_S = 1.0


def unreachable(url: str, timeout_s: float = CONNECT_S) -> str:
    """Return why nobody can be reached at a URL, or an empty text.

    Several brokers' addresses are parted by ``;``, the nodes of a Redis Cluster by commas.
    """
    fault = ""
    for address in [node for part in url.split(";") for node in nodes_of(part)]:
        try:
            place = host_and_port(address, PORTS.get(urlsplit(address).scheme, 0))
            socket.create_connection(place, timeout_s).close()
        except (OSError, ValueError) as error:
            fault = f"{type(error).__name__}: {error}" if not str(error) else str(error)
        else:
            return ""
    return fault
