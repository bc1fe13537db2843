"""Measure rivals beside Batuta and plain Celery: in the same run, interleaved, on the same servers.

Run it as ``python -m benchmarks.rivals [--only NAME] [--rounds 5]``. In each round each side has
the machine for itself once, in turn; figures go to ``benchmarks/results/rivals/NAME.json``.
``python -m benchmarks.rivals.page`` makes the table and the plot of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from contextlib import ExitStack
from datetime import UTC, datetime

from benchmarks.rivals import venvs
from benchmarks.rivals.figures import RESULTS, print_table
from benchmarks.rivals.postgres import private_postgres
from benchmarks.rivals.sides import OURS, PLAIN, RIVALS, TOGETHER, Side, Work, most
from benchmarks.rivals.stage import Driver, Stage
from benchmarks.servers import private_servers

Figures = dict[str, list[float]]


def measure(driver: Driver, work: Work) -> Figures:
    """Do the work once, on a side that is up."""
    driver.ask("chain", 3)
    driver.ask("fan", 50)
    found = {
        f"chain of {length}": driver.ask(
            "chain", length, times=work.short_chains if length < 10 else work.repeats
        )
        for length in work.chains
    }
    found |= {
        f"join of {size}": driver.ask("fan", size, times=work.repeats if size < 500 else 1)
        for size in work.sizes
    }
    found["submit"] = driver.ask("submit", times=work.submits)
    driver.ask("chain", 3)  # behind the steps that were submitted, so that none is left for the next
    return found


def run(rivals: tuple[Side, ...], rounds: int, *, more: bool) -> None:
    """Measure rivals between Batuta and plain Celery, in turn; each round is kept once it is there."""
    played = (PLAIN, OURS, *rivals)
    pythons = {side.name: venvs.python_of(side) for side in played}
    works = {side.name: side.work for side in rivals}
    works |= dict.fromkeys((PLAIN.name, OURS.name), most(list(works.values())))
    kept = {rival.name: earlier(rival) if more else [] for rival in rivals}
    with ExitStack() as stack:
        servers = stack.enter_context(private_servers())
        needed = any(rival.needs_postgres for rival in rivals)
        postgres = stack.enter_context(private_postgres()) if needed else None
        stage = Stage(servers, postgres)
        for number in range(rounds):
            turn = number % len(played)
            found = {}
            for side in (*played[turn:], *played[:turn]):
                with stage.playing(side, pythons[side.name]) as driver:
                    found[side.name] = measure(driver, works[side.name])
            for rival in rivals:
                kept[rival.name].append(found)
                keep(rival, pythons[rival.name], kept[rival.name])
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)


def earlier(rival: Side) -> list[dict[str, Figures]]:
    """Return the rounds that are kept of a rival."""
    path = RESULTS / f"{rival.name}.json"
    return json.loads(path.read_text())["rounds"] if path.exists() else []


def keep(rival: Side, python: str, rounds: list[dict[str, Figures]]) -> None:
    """Write what is known of a rival, and of the two it is measured beside."""
    beside = (PLAIN.name, OURS.name, rival.name)
    RESULTS.mkdir(parents=True, exist_ok=True)
    found = {
        "rival": rival.name,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "versions": versions(rival, python),
        "rounds": [{name: found[name] for name in beside} for found in rounds],
    }
    (RESULTS / f"{rival.name}.json").write_text(json.dumps(found) + "\n")


def versions(rival: Side, python: str) -> dict[str, str]:
    names = [pin.split("==")[0].split("[")[0] for pin in rival.pins if "==" in pin]
    installed = venvs.versions_of(python)
    return {name: installed[name] for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [rival.name for rival in RIVALS]
    parser.add_argument("--only", choices=names, help="only the run that this rival is in")
    parser.add_argument("--rounds", type=int, help="default: 5, and 3 for those that are slow")
    parser.add_argument("--more", action="store_true", help="add the rounds to those that are kept")
    args = parser.parse_args()
    for names in TOGETHER:
        rivals = tuple(rival for rival in RIVALS if rival.name in names)
        if args.only in (None, *names):
            run(rivals, args.rounds or min(rival.rounds for rival in rivals), more=args.more)
            for rival in rivals:
                print_table(json.loads((RESULTS / f"{rival.name}.json").read_text()))


if __name__ == "__main__":
    main()
