"""The tables and pictures of docs/explanation/scale.md, made from what is kept and nothing else.

Run it as ``python -m benchmarks.scale.page`` (about a minute): it writes the page between its marks,
and ``docs/pictures/scale-*.svg``.
"""

from __future__ import annotations

import json
from dataclasses import replace

from benchmarks.documents import DOCS, with_made
from benchmarks.scale import pictures
from benchmarks.scale.figures import (
    HOP,
    HOSTS,
    JOIN,
    SLOTS_A_HOST,
    STEPS,
    Figures,
    by_hosts,
    checked,
    compared,
    jobs,
    limits,
)
from benchmarks.scale.measure import KEPT
from benchmarks.scale.model import Outcome, bounds, simulate
from benchmarks.scale.shapes import ELSEWHERE, SHAPES

PAGE = DOCS / "explanation" / "scale.md"


def demands(figures: Figures) -> list[str]:
    """CPU of one step, by part."""
    lines = [
        "| CPU of one step, µs | worker | Redis | of it scripts | RabbitMQ | of it the queue |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for shape in (*SHAPES, *ELSEWHERE):
        for window in (JOIN, HOP):
            parts = [figures.each(shape, window, part) for part in ("redis", "scripts", "rabbitmq")]
            parent, children = (figures.each(shape, window, part) for part in ("parent", "children"))
            worker = f"{_us(parent)} + {_us(children)}" if children else _us(parent)
            cells = [worker, *map(_us, parts), _us(parts[-1] * figures.queue_share(shape))]
            lines.append(f"| {window}, {shape} | " + " | ".join(cells) + " |")
    for window in ("publish", "submit"):
        parts = [figures.each("one solo", window, part) for part in ("redis", "scripts", "rabbitmq")]
        lines.append(f"| {window} | | " + " | ".join(map(_us, parts)) + " | |")
    for name in ("Redis alone", "classic queue alone", "quorum queue alone"):
        part = "redis" if "Redis" in name else "rabbitmq"
        cells = [_us(figures.each(name, "", part)), "", ""]
        row = [*cells, ""] if part == "redis" else ["", "", cells[0], ""]
        lines.append(f"| {name}, {figures.rate(name):,.0f} a second | | " + " | ".join(row) + " |")
    return lines


def checks(figures: Figures) -> list[str]:
    """The model beside what was measured."""
    lines = [
        "| steps/s on two cores | measured | by one slot's costs | error | by its own costs | error |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for shape, workload, measured, *models in checked(figures):
        cells = [f"{model:,.0f} | {model / measured - 1:+.0%}" for model in models]
        lines.append(f"| {workload}, {shape} | {measured:,.0f} | " + " | ".join(cells) + " |")
    return lines


def most(figures: Figures) -> list[str]:
    """Where each part ends."""
    join, hop = limits(figures, JOIN), limits(figures, HOP)
    lines = ["| at most, steps/s | part of a join | hop of a chain |", "|---|--:|--:|"]
    return lines + [f"| {part} | {_two(join[part])} | {_two(hop[part])} |" for part in join]


def job_limits(figures: Figures) -> list[str]:
    """The same in jobs."""
    lines = ["| at most, jobs/s | one classic queue | one Redis |", "|---|--:|--:|"]
    for job, part in jobs(figures).items():
        lines.append(f"| {job} | {_two(part['queue'])} | {_two(part['Redis'])} |")
    return lines


def hosts(found: dict[float, dict[int, Outcome]]) -> list[str]:
    """Steps/s by hosts and by how long a step takes."""
    lines = [
        f"| hosts of {SLOTS_A_HOST} slots | " + " | ".join(f"{pictures.body(body)} a step" for body in found),
        "|--:|" + "--:|" * len(found),
    ]
    lines[0] += " |"
    for count in HOSTS:
        cells = [_rate(outcomes[count]) for outcomes in found.values()]
        lines.append(f"| {count} | " + " | ".join(cells) + " |")
    return lines


def _rate(outcome: Outcome) -> str:
    part = max(outcome.busy, key=lambda name: outcome.busy[name])
    return f"{_two(outcome.steps_per_s)}" + (f" ({part})" if outcome.busy[part] > 0.95 else "")


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f}"


def _two(rate: float) -> str:
    """Two digits: more would be made up."""
    return f"{float(f'{rate:.2g}'):,.0f}"


def main() -> None:
    figures = Figures(json.loads(KEPT.read_text()))
    by_body = by_hosts(figures)
    sites = {name: (costs, replace(site, workers=1)) for name, (costs, site) in compared(figures).items()}
    by_site = {
        name: {count: simulate(costs, replace(site, workers=count * SLOTS_A_HOST), STEPS) for count in HOSTS}
        for name, (costs, site) in sites.items()
    }
    ceilings = {name: bounds(costs, site).many for name, (costs, site) in sites.items()}
    made = [demands(figures), checks(figures), most(figures), job_limits(figures), hosts(by_body)]
    tables = "\n\n".join("\n".join(lines) for lines in made)
    PAGE.write_text(with_made(PAGE.read_text(), tables, by="benchmarks.scale.page"))
    pictures.draw_model()
    pictures.draw_hosts(by_body)
    pictures.draw_sites(by_site, ceilings)


if __name__ == "__main__":
    main()
