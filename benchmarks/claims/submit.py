"""Submit of a one-step job against ``delay()`` with confirms: p50 and p99, in turn on the same servers.

Run it as ``python -m benchmarks.claims.submit``. No worker runs: what is measured is the call.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from benchmarks.claims.claim import Claim, median, p99, show
from benchmarks.core import Ours, Plain
from benchmarks.servers import private_servers

ROUNDS, CALLS, WARM = 7, 200, 30


def times_of(call: Callable[[], object], calls: int) -> list[float]:
    seconds = []
    for _ in range(calls):
        started = time.perf_counter()
        call()
        seconds.append((time.perf_counter() - started) * 1000)
    return seconds


def measure() -> Iterator[Claim]:
    with private_servers() as servers:
        os.environ.update(servers.env(), **Ours.env)
        sides = {side.name: side for side in (Plain(), Ours())}
        rounds: dict[str, list[list[float]]] = {name: [] for name in sides}
        for side in sides.values():
            times_of(side.submit, WARM)
        for number in range(ROUNDS):
            for name in list(sides) if number % 2 else list(sides)[::-1]:
                rounds[name].append(times_of(sides[name].submit, CALLS))
    middle = {name: median([median(found) for found in kept]) for name, kept in rounds.items()}
    last = {name: p99([ms for found in kept for ms in found]) for name, kept in rounds.items()}
    raw = {name: [[round(ms, 4) for ms in found] for found in kept] for name, kept in rounds.items()}
    for name in sides:
        yield Claim(f"submit of one step, {name}: p50", middle[name], "ms")
        yield Claim(f"submit of one step, {name}: p99", last[name], "ms")
    plain, ours = middle
    yield Claim(
        "submit of a one-step job, p50, against delay() with confirms",
        middle[ours] / middle[plain],
        "×",
        1.5,
        {"ms": raw},
    )


if __name__ == "__main__":
    show("submit", measure)
