"""Where the nodes of a graph stand. Pure.

Owns layers, their order, and the coordinates. Invariant: a node stands to the right
of all that it follows, and no two overlap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from coordinator.graph.fold import Graph, Node

STEP_WIDTH, STEP_HEIGHT = 172.0, 54.0
POINT_SIZE = 18.0
GAP_X, GAP_Y = 32.0, 16.0
MARGIN = 12.0
SWEEPS = 3


@dataclass(frozen=True)
class Place:
    """A node's box, in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


@dataclass(frozen=True)
class Layout:
    """Every node's place, and the size of the whole."""

    places: Mapping[str, Place]
    width: float
    height: float


def lay_out(graph: Graph) -> Layout:
    """Return where each node stands, from left to right."""
    layers = _layers(graph)
    _untangle(graph, layers)
    height = max((_height(layer) for layer in layers), default=0.0)
    places: dict[str, Place] = {}
    x = MARGIN
    for layer in layers:
        width = max(_size(node)[0] for node in layer)
        for node, y in zip(layer, _stack(layer, places, height), strict=True):
            w, h = _size(node)
            places[node.id] = Place(x + (width - w) / 2, MARGIN + y, w, h)
        x += width + GAP_X
    return Layout(places, x - GAP_X + MARGIN, height + 2 * MARGIN)


def _layers(graph: Graph) -> list[list[Node]]:
    depth: dict[str, int] = {}
    layers: list[list[Node]] = []
    for node in graph.nodes:
        depth[node.id] = 1 + max((depth[before] for before in node.after), default=-1)
        while len(layers) <= depth[node.id]:
            layers.append([])
        layers[depth[node.id]].append(node)
    return layers


def _untangle(graph: Graph, layers: list[list[Node]]) -> None:
    """Order each layer by the middle of its neighbours, to and fro, so that fewer edges cross."""
    following: dict[str, set[str]] = {node.id: set() for node in graph.nodes}
    for node in graph.nodes:
        for before in node.after:
            following[before].add(node.id)
    rank = {node.id: float(number) for layer in layers for number, node in enumerate(layer)}

    def sort(layer: list[Node], neighbours: Mapping[str, set[str]]) -> None:
        middles = {
            node.id: fmean(rank[id_] for id_ in neighbours[node.id]) if neighbours[node.id] else rank[node.id]
            for node in layer
        }
        layer.sort(key=lambda node: middles[node.id])
        rank.update({node.id: float(number) for number, node in enumerate(layer)})

    preceding = {node.id: node.after for node in graph.nodes}
    for _ in range(SWEEPS):
        for layer in layers[1:]:
            sort(layer, preceding)
        for layer in reversed(layers[:-1]):
            sort(layer, following)
    for layer in layers[1:]:
        sort(layer, preceding)


def _stack(layer: list[Node], places: Mapping[str, Place], height: float) -> list[float]:
    """Return each node's y: as near to what it follows as its neighbours leave room for."""
    wanted = []
    for node in layer:
        befores = [places[before].middle - MARGIN for before in node.after]
        wanted.append((fmean(befores) if befores else height / 2) - _size(node)[1] / 2)
    ys: list[float] = []
    for number in range(len(layer)):
        least = ys[-1] + _size(layer[number - 1])[1] + GAP_Y if ys else 0.0
        ys.append(max(least, wanted[number]))
    if not ys:
        return []
    # Pushed down one by one, a fan would hang below its middle: lift it by as much as it sank.
    sunk = fmean(y - want for y, want in zip(ys, wanted, strict=True))
    overhang = ys[-1] + _size(layer[-1])[1] - height
    lift = min(ys[0], max(sunk, overhang, 0.0))
    return [y - lift for y in ys]


def _height(layer: list[Node]) -> float:
    return sum(_size(node)[1] for node in layer) + GAP_Y * (len(layer) - 1)


def _size(node: Node) -> tuple[float, float]:
    return (STEP_WIDTH, STEP_HEIGHT) if node.kind == "step" else (POINT_SIZE, POINT_SIZE)
