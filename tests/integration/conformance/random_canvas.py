"""Random canvases: a tree, and the two canvases that are made of it.

A group within a group is written flat for Celery, which flattens it too but turns its
order round where it stands in a header (see ``shapes.ORDER``).
"""

from __future__ import annotations

from typing import Any

from celery import chain, chord, group
from hypothesis import strategies as st

from tests.integration.conformance.tasks import show

#: Celery does not fold a chain of one chain, and then runs what follows a group in it for each member.
#: A group of one in a chain is, for Celery, that one in some places and a list of one in others.
LEAST = {"chain": 2, "group": 2, "chord": 1}
DEEPEST, WIDEST, LARGEST = 4, 6, 40

Tree = tuple[Any, ...]  # ("task", number, is immutable) | ("chain" | "group", trees) | ("chord", trees, tree)


@st.composite
def trees(draw: st.DrawFn, depth: int = DEEPEST) -> Tree:
    """Draw a tree of at most ``DEEPEST`` levels, each at most ``WIDEST`` wide."""
    kind = "task" if not depth else draw(st.sampled_from(["chain", "group", "chord", "task"]))
    if kind == "task":
        return ("task", draw(st.integers(0, 99)), draw(st.integers(0, 4)) == 0)
    widest = WIDEST if depth > 2 else 3
    parts = draw(st.lists(trees(depth=depth - 1), min_size=LEAST[kind], max_size=widest))
    if kind == "chord":
        return ("chord", parts, draw(trees(depth=depth - 1)))
    return (kind, parts)


def size(tree: Tree) -> int:
    """Return the number of tasks in a tree."""
    if tree[0] == "task":
        return 1
    return sum(map(size, tree[1])) + (size(tree[2]) if tree[0] == "chord" else 0)


def has_three_groups(tree: Tree) -> bool:
    """Whether three groups follow one another anywhere: see ``shapes.THIRD``."""
    if tree[0] == "task":
        return False
    kinds = "".join(kind[0] for kind in _spliced(tree))
    parts = [*tree[1], *tree[2:]]
    return "ggg" in kinds or any(map(has_three_groups, parts))


def may_hang(tree: Tree, *, is_inside: bool = False) -> bool:
    """Whether Celery may never end it, seen from far: see ``shapes.HANGS``."""
    if tree[0] == "task":
        return False
    end = _end(tree)
    if is_inside and tree[0] != "group" and end[0] == "group" and any(part[0] != "task" for part in end[1]):
        return True
    inside = is_inside or tree[0] != "chain" or any(part[0] != "task" for part in tree[1])
    return any(may_hang(part, is_inside=inside) for part in (*tree[1], *tree[2:]))


def _end(tree: Tree) -> Tree:
    """Return the last part of the last part."""
    if tree[0] == "chain":
        return _end(tree[1][-1])
    return _end(tree[2]) if tree[0] == "chord" else tree


def _spliced(tree: Tree) -> list[str]:
    """Return the kinds of a chain's tasks as Celery lines them up: a group for what runs in parallel."""
    if tree[0] == "chain":
        return [kind for part in tree[1] for kind in _spliced(part)]
    if tree[0] == "chord":
        return ["group", *_spliced(tree[2])]
    if tree[0] == "group":
        parts = _flat(tree[1])
        return ["group"] if len(parts) > 1 else _spliced(parts[0])
    return ["task"]


def canvas(tree: Tree, *, is_flat: bool = False) -> Any:
    """Return the canvas of a tree; flat: groups within groups are written out."""
    if tree[0] == "task":
        return show.si(tree[1]) if tree[2] else show.s(tree[1])
    parts = tree[1]
    if is_flat and tree[0] != "chain" and len(_flat(parts)) > 1:  # a group of one is not the same as that one
        parts = _flat(parts)
    parts = [canvas(part, is_flat=is_flat) for part in parts]
    if tree[0] == "chord":
        return chord(parts, canvas(tree[2], is_flat=is_flat))
    return chain(*parts) if tree[0] == "chain" else group(parts)


def _flat(parts: list[Tree]) -> list[Tree]:
    found = []
    for part in parts:
        if part[0] == "chain" and len(part[1]) == 1:  # a chain of one is that one
            found += _flat(part[1])
        else:
            found += _flat(part[1]) if part[0] == "group" else [part]
    return found
