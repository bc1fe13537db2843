"""Publishing a chord's header: messages a second of the call that submits, with no worker running.

Beside it py-amqp by itself, which records nothing: how much of a publisher's time is the broker's. That
depends on where the broker keeps a classic queue: in memory as well as on disk by default before
RabbitMQ 3.12, on disk since (https://www.rabbitmq.com/docs/lazy-queues), which a policy asks of an older one.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterator

from benchmarks.rows.row import Figures, Line, Row, Scale, Turn, against, at_least, column
from benchmarks.sides import BARE, CONFIRMED, HOW, OURS, PLAIN, Side

NAMES = (PLAIN, OURS, CONFIRMED, BARE)
MODES = {"lazy": "queues as since RabbitMQ 3.12", "default": "as before it"}
AGAINST = (
    *((name, how, at_least(6)) for name, how in HOW.items()),
    (BARE, f", against {BARE} alone", None),
)
WARM = 20


def measure(turn: Turn) -> Figures:
    return dict(_measured(turn))


def _measured(turn: Turn) -> Iterator[tuple[str, float]]:
    ctl = turn.servers.rabbitmq.ctl
    for mode in MODES:
        ctl("set_policy", "mode", ".*", json.dumps({"queue-mode": mode}), "--apply-to", "queues")
        for side in turn.ordered(NAMES):
            yield f"{side.name} | {mode}", _speed(side, turn.scale.header)
            side.purge()
            turn.servers.forget()
    ctl("clear_policy", "mode")


def _speed(side: Side, size: int) -> float:
    side.publish(WARM)
    gc.collect()
    started = time.perf_counter()
    side.publish(size)
    return size / (time.perf_counter() - started)


def lines(rounds: list[Figures], scale: Scale) -> list[Line]:
    return [
        against(
            f"header of {scale.header:,}, published, {words}{how}",
            target,
            column(rounds, f"{OURS} | {mode}"),
            column(rounds, f"{name} | {mode}"),
            unit="messages/s",
        )
        for mode, words in MODES.items()
        for name, how, target in AGAINST
    ]


ROW = Row("header", lines, measure)
