"""What ``wait`` costs: Redis commands and subscriptions of the process that waits, by the job's size.

Run it as ``python -m benchmarks.claims.wait_cost``. The commands are counted where they leave the
waiting process, since ``INFO commandstats`` has the workers' and the scripts' in it too; the
subscriptions are those of ``INFO commandstats``. While it waits, ``wait`` looks once every
``LOOK_S`` by itself, so that a lost word ends no wait: those looks go with time, not with steps.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from redis.connection import AbstractConnection

from benchmarks.claims.claim import Claim, show
from benchmarks.core import Ours
from benchmarks.servers import fleet, private_servers

SIZES = (100, 1000, 5000, 20_000)
SLACK = 3  # a connection's health check, a look more


@contextmanager
def counted() -> Iterator[list[int]]:
    """Count what this process sends to Redis in the block."""
    sent: list[int] = []
    send = AbstractConnection.send_packed_command

    def counting(self: Any, command: Any, *more: Any, **options: Any) -> Any:
        sent.append(sum(map(len, command)) if isinstance(command, list) else len(command))
        return send(self, command, *more, **options)

    with mock.patch.object(AbstractConnection, "send_packed_command", counting):
        yield sent


def wait_for(ours: Ours, size: int) -> tuple[int, int, float]:
    """Return the commands that a wait sent, its subscriptions, and how long it took (s)."""
    client = ours.coordinator.state_manager.client
    job = ours.publish(size)[1]
    client.config_resetstat()
    started = time.perf_counter()
    with counted() as sent:
        ours.wait_best(job)
    waited_s = time.perf_counter() - started
    return len(sent), client.info("commandstats")["cmdstat_subscribe"]["calls"], waited_s


def measure() -> Iterator[Claim]:
    from coordinator.coordinator import LOOK_S

    with private_servers() as servers:
        os.environ.update(servers.env(), **Ours.env)
        ours = Ours()
        with fleet(Ours.app, "prefork -c 2", servers.home, Ours.env):
            wait_for(ours, 10)
            few = None
            for size in SIZES:
                commands, subscriptions, waited_s = wait_for(ours, size)
                raw = {"waited_s": round(waited_s, 2), "commands": commands, "subscriptions": subscriptions}
                looks = int(waited_s / LOOK_S)
                few = few or commands - looks
                yield Claim(
                    f"wait on {size:,} steps ({waited_s:.1f} s): subscriptions", subscriptions, "", 1, raw
                )
                what = f"wait on {size:,} steps: commands beside {looks} looks"
                yield Claim(what, commands - looks, "", few + SLACK)


if __name__ == "__main__":
    show("wait_cost", measure)
