"""Draw a laid-out graph as SVG. Pure.

Owns how a node looks; colours are classes, given by ``STYLE`` or by the page around.
Invariant: every word that comes from a job is escaped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from coordinator.graph.fold import Graph, Node
from coordinator.graph.layout import Layout, Place, lay_out

LABEL_LENGTH = 22
BAR_INSET = 12.0
#: A picture that is too wide shrinks so far before it scrolls.
LEAST_SCALE = 0.75


@dataclass(frozen=True, slots=True)
class Tally:
    """How the steps of a node stand."""

    total: int
    done: int = 0
    lost: int = 0  # in a lane of a race that was not the first
    failed: int = 0
    running: int = 0
    retrying: int = 0
    waiting: str = "waiting"  # the word for a step that has not begun

    @property
    def wanted(self) -> int:
        """How many of them are to be done."""
        return self.total - self.lost

    @property
    def state(self) -> str:
        """The one word for all of them: what most wants to be seen."""
        if self.failed:
            return "failed"
        if self.lost and not self.wanted:
            return "lost"
        if self.done >= self.wanted:
            return "succeeded"
        if self.running:
            return "running"
        if self.retrying:
            return "retrying"
        return "running" if self.done and self.total > 1 else "waiting"


def draw(graph: Graph, tally: Callable[[Node], Tally]) -> str:
    """Return the graph as an ``<svg>`` element."""
    layout = lay_out(graph)
    tallies = {node.id: tally(node) for node in graph.nodes}
    parts = [
        f'<svg class="job-graph" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="Graph of the job" '
        f'width="{layout.width:.0f}" style="max-width: 100%; min-width: {layout.width * LEAST_SCALE:.0f}px" '
        f'viewBox="0 0 {layout.width:.0f} {layout.height:.0f}">'
    ]
    for node in graph.nodes:
        parts += [_edge(layout, before, node, tallies) for before in sorted(node.after)]
    for node in graph.nodes:
        draw_one = _step if node.kind == "step" else _point
        parts.append(draw_one(node, layout.places[node.id], tallies[node.id]))
    return "".join([*parts, "</svg>"])


def _edge(layout: Layout, before: str, node: Node, tallies: dict[str, Tally]) -> str:
    start, end = layout.places[before], layout.places[node.id]
    x1, y1, x2, y2 = start.x + start.width, start.middle, end.x, end.middle
    bend = (x2 - x1) / 2
    done = " graph-edge-done" if tallies[before].state == "succeeded" else ""
    return (
        f'<path class="graph-edge{done}" '
        f'd="M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"/>'
    )


def _step(node: Node, place: Place, tally: Tally) -> str:
    many = node.count > 1
    title = f"{node.count:,} × {node.task}" if many else f"{node.keys[0]}: {node.task}"
    word = tally.waiting if tally.state == "waiting" else tally.state
    words = _words(tally) if many else word
    box = f'width="{place.width:.0f}" height="{place.height:.0f}" rx="8"'
    # A fold is a stack of cards.
    stack = "".join(f'<rect class="graph-card" x="{d}" y="{d}" {box}/>' for d in (6, 3)) if many else ""
    return (
        f'<g class="graph-step graph-{tally.state}" data-node="{escape(node.id)}" '
        f'transform="translate({place.x:.1f} {place.y:.1f})"><title>{escape(title)}</title>{stack}'
        f'<rect class="graph-box" {box}/>'
        f'<text class="graph-label" x="12" y="{20 if many else 23}">{escape(_short(node.label))}</text>'
        f'<text class="graph-words" x="12" y="{36 if many else 41}">{escape(words)}</text>'
        f"{_bar(place, tally) if many else ''}</g>"
    )


def _bar(place: Place, tally: Tally) -> str:
    width = place.width - 2 * BAR_INSET
    done = width * tally.done / tally.wanted if tally.wanted else 0.0
    failed = width * tally.failed / tally.wanted if tally.wanted else 0.0
    y = place.height - 11
    return (
        f'<rect class="graph-bar" x="{BAR_INSET}" y="{y}" width="{width:.1f}" height="5" rx="2.5"/>'
        f'<rect class="graph-bar-done" x="{BAR_INSET}" y="{y}" width="{done:.1f}" height="5" rx="2.5"/>'
        f'<rect class="graph-bar-failed" x="{BAR_INSET + done:.1f}" y="{y}" width="{failed:.1f}" height="5"/>'
    )


def _point(node: Node, place: Place, tally: Tally) -> str:
    word = "the first of" if node.kind == "race" else "all of"
    title = f"waits for {word} {len(node.keys):,}: {tally.done:,} done"
    x, y, r = place.x + place.width / 2, place.middle, place.width / 2
    return (
        f'<g class="graph-point graph-{tally.state}" data-node="{escape(node.id)}"><title>{title}</title>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"/>'
        f'<text x="{x:.1f}" y="{y + 4:.1f}">{"1" if node.kind == "race" else "∧"}</text></g>'
    )


def _words(tally: Tally) -> str:
    words = f"{tally.done:,} / {tally.wanted:,}"
    if tally.failed:
        return f"{words}, {tally.failed:,} failed"
    if tally.running:
        return f"{words}, {tally.running:,} running"
    return f"{words}, {tally.lost:,} lost" if tally.lost else words


def _short(label: str) -> str:
    if len(label) <= LABEL_LENGTH:
        return label
    return f"{label[: LABEL_LENGTH - 6]}…{label[-5:]}"  # the end has the index
