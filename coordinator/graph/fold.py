"""Fold a plan to a graph that a person can read. Pure.

Owns which steps stand as one node. Invariant: every step of the work is in exactly
one node, and a node follows another only if one of its steps follows one of the
other's. Steps are folded together where there are more than ``ALONE`` of one task
behind one node: the parts of a chord, the items of an ``each``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from coordinator.plan import NEVER, Plan, PlannedStep, leaves, prefix_of
from coordinator.stream import Stream

#: So many parallel steps are drawn one by one; more of them stand as one.
ALONE = 6

T = TypeVar("T")


@dataclass
class Node:
    """One step, a fold of parallel steps, or the point where parallel steps join."""

    id: str
    kind: str  # step | join | race
    task: str = ""
    label: str = ""
    keys: list[str] = field(default_factory=list)  # of its steps; of a join: the keys that it waits on
    after: set[str] = field(default_factory=set)  # ids of the nodes it follows
    count: int = 1  # a fold: how many steps; a fold of joins: how many joins


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which none stands before what it follows."""

    nodes: tuple[Node, ...]


def fold(plan: Plan, fragments: Mapping[str, Plan] | None = None) -> Graph:
    """Return the graph of a plan; where a step put a canvas in its place, that follows the step."""
    return _Folding(plan, fragments or {}).graph()


@dataclass(frozen=True)
class _Source:
    """What a step waits on: the keys before it, and what kind of point they make."""

    kind: str  # "" for nothing or one step; join; race
    keys: tuple[str, ...]


class _Folding:
    """One fold: what each step waits on, its class and depth, then nodes depth by depth."""

    def __init__(self, plan: Plan, fragments: Mapping[str, Plan]) -> None:
        self._plans = {plan.prefix: plan, **{part.prefix: part for part in fragments.values()}}
        self._fragments = fragments
        self._steps = list(self._in_order(plan))
        self._racers = self._find_racers()
        self._sources: dict[str, _Source] = {}
        self._found: dict[str, tuple[frozenset[int], int]] = {}  # what stands behind a source
        self._classes: dict[Hashable, int] = {}
        self._class_of: dict[str, int] = {}
        self._depth_of: dict[str, int] = {}
        self._node_of: dict[str, str] = {}
        self._points: dict[str, str] = {}  # source's name -> node
        self._nodes: list[Node] = []

    def graph(self) -> Graph:
        levels: dict[int, list[PlannedStep]] = {}
        for step in self._steps:
            self._classify(step)
            levels.setdefault(self._depth_of[step.key], []).append(step)
        for _, steps in sorted(levels.items()):
            self._add_points(steps)
            self._add_steps(steps)
        return Graph(tuple(self._nodes))

    def _in_order(self, plan: Plan) -> Iterator[PlannedStep]:
        for step in plan.steps:
            if step.after == NEVER:  # an errback; a race, which is drawn as the point where its lanes meet
                continue
            yield step
            fragment = self._fragments.get(step.key)
            if fragment is not None and not isinstance(fragment, Stream):  # batches come and go
                yield from self._in_order(fragment)

    def _find_racers(self) -> dict[str, list[str]]:
        """Return the last steps of the lanes of each race, by the race's key."""
        racers: dict[str, list[str]] = {}
        for step in self._steps:
            for part in step.follow:
                if part[0] == "win":
                    racers.setdefault(part[1], []).append(step.key)
        return racers

    # -- what a step waits on -----------------------------------------------

    def _source(self, step: PlannedStep) -> _Source:
        name = self._source_name(step)
        if name not in self._sources:
            self._sources[name] = self._find_source(step, name)
        return self._sources[name]

    def _source_name(self, step: PlannedStep) -> str:
        return step.after or prefix_of(step.key) + "^"

    def _find_source(self, step: PlannedStep, name: str) -> _Source:
        if step.after is None:
            parent = prefix_of(step.key)[:-1]
            return _Source("", (parent,) if parent else ())
        shape = self._plans[prefix_of(step.key)].joins.get(step.after, step.after)
        keys = tuple(dict.fromkeys(end for key in leaves(shape) for end in self._ends(key)))
        kind = "race" if name in self._racers else "join"
        return _Source(kind if len(keys) > 1 else "", keys)

    def _ends(self, key: str) -> Iterator[str]:
        """Yield the steps whose end is the end of ``key``: its canvas' last ones, a race's lanes."""
        fragment = self._fragments.get(key)
        last = list(leaves(fragment.result)) if fragment else self._racers.get(key, [])
        if not last:
            yield key
        for part in last:
            if part != key:
                yield from self._ends(part)

    def _classify(self, step: PlannedStep) -> None:
        kinds, depth = self._behind(step)
        mark = (step.task, step.phase, step.place is None, self._source(step).kind, kinds)
        self._class_of[step.key] = self._classes.setdefault(mark, len(self._classes))
        self._depth_of[step.key] = depth

    def _behind(self, step: PlannedStep) -> tuple[frozenset[int], int]:
        """Return the classes of what a step waits on, and its depth: found once for all that wait on it."""
        name = self._source_name(step)
        if name not in self._found:
            keys = self._source(step).keys
            kinds = frozenset(self._class_of.get(key, -1) for key in keys)
            self._found[name] = kinds, 1 + max((self._depth_of.get(key, 0) for key in keys), default=0)
        return self._found[name]

    # -- nodes --------------------------------------------------------------

    def _add_points(self, steps: list[PlannedStep]) -> None:
        """Add the joins and races that steps of one depth wait on."""
        groups: dict[tuple[str, frozenset[str]], dict[str, _Source]] = {}
        for name, source in {self._source_name(step): self._source(step) for step in steps}.items():
            if source.kind:
                before = frozenset(self._node_of[key] for key in source.keys if key in self._node_of)
                groups.setdefault((source.kind, before), {})[name] = source
        for (kind, before), found in groups.items():
            for names in _shared(list(found)):
                node = Node(f"{kind}:{names[0]}", kind, after=set(before), count=len(names))
                node.keys = [key for name in names for key in found[name].keys]
                self._nodes.append(node)
                self._points.update(dict.fromkeys(names, node.id))

    def _add_steps(self, steps: list[PlannedStep]) -> None:
        groups: dict[tuple[frozenset[str], int], list[PlannedStep]] = {}
        for step in steps:
            groups.setdefault((self._before(step), self._class_of[step.key]), []).append(step)
        for (before, _), found in groups.items():
            for members in _shared(found):
                first = members[0]
                label = first.label if len(members) == 1 else first.task.rpartition(".")[2]
                keys = [step.key for step in members]
                node = Node(f"step:{first.key}", "step", first.task, label, keys, set(before), len(members))
                self._nodes.append(node)
                self._node_of.update(dict.fromkeys(keys, node.id))

    def _before(self, step: PlannedStep) -> frozenset[str]:
        point = self._points.get(self._source_name(step))
        if point:
            return frozenset({point})
        return frozenset(self._node_of[key] for key in self._source(step).keys if key in self._node_of)


def _shared(members: list[T]) -> list[list[T]]:
    """Return them one by one, or all together where they are many."""
    return [members] if len(members) > ALONE else [[member] for member in members]
