"""Steps a second by the size of the fan-out, ours in a fleet: no part may be quadratic."""

from __future__ import annotations

from benchmarks.rows.join import joined_s
from benchmarks.rows.row import Figures, Line, Row, Scale, Turn, at_most, column, middle
from benchmarks.servers import SINGLE
from benchmarks.sides import OURS

TIMES = 3  # how often the small ones, which take a second


def measure(turn: Turn) -> Figures:
    ours = turn.sides[OURS]
    found = {}
    with turn.servers.fleet(ours, SINGLE):
        joined_s(ours, 200)
        for size in turn.scale.flat:
            times = TIMES if size < 5000 else 1
            found[str(size)] = size / middle([joined_s(ours, size) for _ in range(times)])
    return found


def lines(rounds: list[Figures], scale: Scale) -> list[Line]:
    least, *larger = scale.flat
    found = []
    for size in larger:
        rates, base = column(rounds, str(size)), column(rounds, str(least))
        off = [abs(rate / small - 1) * 100 for rate, small in zip(rates, base, strict=True)]
        what = f"steps/s at N = {size:,}: away from those at {least:,} ({middle(base):,.0f}), a fleet of 2"
        found.append(Line(what, at_most(15), off, "%", ours=middle(rates), beside="steps/s"))
    return found


ROW = Row("flat", lines, measure, rounds=2)
