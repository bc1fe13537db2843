"""Write a graph as text, for people, and as Mermaid, for documents. Pure.

Owns the words. Invariant: a fold is one line, however many steps it stands for;
every line stands behind those that it names.
"""

from __future__ import annotations

from collections.abc import Callable

from coordinator.graph.fold import Graph, Node
from coordinator.graph.svg import Tally

#: Colours that are readable on a light and on a dark page.
MERMAID_CLASSES = {
    "succeeded": "stroke:#2e9e5b",
    "running": "stroke:#2f7fd1,stroke-width:2px",
    "retrying": "stroke:#c98a1b,stroke-width:2px",
    "failed": "stroke:#d1453b,stroke-width:2px",
    "lost": "stroke-dasharray:4 3",
}


def as_text(graph: Graph, tally: Callable[[Node], Tally] | None = None) -> str:
    """Return a line for each step or fold of steps: key, task, how many, what comes before, how it stands."""
    nodes = {node.id: node for node in graph.nodes}
    rows = []
    for node in graph.nodes:
        if node.kind == "step":
            task = f"{node.label} ×{node.count:,}" if node.count > 1 else node.label
            before = ", ".join(_named(nodes[name], nodes) for name in sorted(node.after))
            rows.append(
                (_keys(node), task, f"after {before}" if before else "", _words(node, tally) if tally else "")
            )
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in rows
    )


def as_mermaid(graph: Graph, tally: Callable[[Node], Tally] | None = None) -> str:
    """Return the graph as a Mermaid flowchart, which GitHub and many documents draw."""
    names = {node.id: f"n{number}" for number, node in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    for node in graph.nodes:
        state = tally(node).state if tally else ""
        mark = f":::{state}" if state in MERMAID_CLASSES else ""
        lines.append(f"    {names[node.id]}{_shape(node)}{mark}")
        lines += [f"    {names[before]} --> {names[node.id]}" for before in sorted(node.after)]
    lines += [f"    classDef {state} {style}" for state, style in MERMAID_CLASSES.items() if tally]
    return "\n".join(lines)


def _shape(node: Node) -> str:
    if node.kind != "step":
        return '(("first"))' if node.kind == "race" else '(("all"))'
    label = f"{node.label} ×{node.count:,}" if node.count > 1 else node.label
    label = label.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
    return f'[["{label}"]]' if node.count > 1 else f'["{label}"]'


def _keys(node: Node) -> str:
    return node.keys[0] if node.count == 1 else f"{node.keys[0]} – {node.keys[-1]}"


def _named(node: Node, nodes: dict[str, Node]) -> str:
    if node.kind == "step":
        return _keys(node)
    inner = ", ".join(_named(nodes[name], nodes) for name in sorted(node.after))
    return f"the first of {inner}" if node.kind == "race" else f"all of {inner}"


def _words(node: Node, tally: Callable[[Node], Tally]) -> str:
    found = tally(node)
    if node.count == 1:
        return found.state
    parts = [("failed", found.failed), ("lost", found.lost)]
    more = "".join(f", {number:,} {word}" for word, number in parts if number)
    return f"{found.done:,} of {found.wanted:,} done{more}"
