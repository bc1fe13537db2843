"""Publishing a chord's header: messages a second of the call that submits, with no worker running.

Beside it py-amqp by itself, which records nothing: how much of a publisher's time is the broker's.
"""

from __future__ import annotations

import gc
import time

from benchmarks.rows.row import Figures, Line, Row, Scale, Turn, against, at_least, column
from benchmarks.sides import BARE, CONFIRMED, HOW, OURS, PLAIN

NAMES = (PLAIN, OURS, CONFIRMED, BARE)
WARM = 20


def measure(turn: Turn) -> Figures:
    found = {}
    for side in turn.ordered(NAMES):
        side.publish(WARM)
        gc.collect()
        started = time.perf_counter()
        side.publish(turn.scale.header)
        found[side.name] = turn.scale.header / (time.perf_counter() - started)
        side.purge()
        turn.servers.forget()
    return found


def lines(rounds: list[Figures], scale: Scale) -> list[Line]:
    what, ours = f"header of {scale.header:,}, published", column(rounds, OURS)
    return [
        against(what + words, at_least(6), ours, column(rounds, name), unit="messages/s")
        for name, words in HOW.items()
    ] + [against(f"{what}, against {BARE} alone", None, ours, column(rounds, BARE), unit="messages/s")]


ROW = Row("header", lines, measure)
