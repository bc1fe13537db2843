"""Publishing a chord's header: messages a second of the call that submits, with no worker running."""

from __future__ import annotations

import gc
import time

from benchmarks.rows.row import Figures, Line, Row, Scale, Turn, at_least, column, middle, ratios
from benchmarks.sides import CONFIRMED, OURS, PLAIN

NAMES = (PLAIN, OURS, CONFIRMED)
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
    ours = column(rounds, OURS)
    found = []
    for name in (PLAIN, CONFIRMED):
        plain = column(rounds, name)
        words = "" if name == PLAIN else ", its publishes confirmed"
        found.append(
            Line(
                f"header of {scale.header:,}, published{words}",
                at_least(6),
                ratios(ours, plain),
                plain=middle(plain),
                ours=middle(ours),
                beside="messages/s",
            )
        )
    return found


ROW = Row("header", lines, measure)
