"""What the Jobs tab shows, as JSON.

Owns the shape of rows and of a job's page. Invariant: nothing is shown of a job's
parameters that ``status`` would not show, and all times are Redis', sent with
Redis' own "now", so that a browser's clock decides nothing.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import coordinator
from coordinator import registry
from coordinator.coordinator import Coordinator
from coordinator.dashboard.timeline import timeline
from coordinator.graph import Graph, Node, Tally, draw, fold
from coordinator.plan import Plan
from coordinator.state.overview import INTERNAL, Cursor
from coordinator.state.standing import Standing, standing
from coordinator.states import JobStatus
from coordinator.stream import Stream
from coordinator.submission import CANVAS

ASSETS_VERSION = coordinator.__version__
#: More nodes than that are no picture any more.
MOST_NODES = 300
SHOWN_EVENTS = 200
GRAPHS_KEPT = 32
_graphs: OrderedDict[str, tuple[Plan, frozenset[str], Graph]] = OrderedDict()


def kinds() -> list[str]:
    """Return the kinds that one may look for."""
    return sorted({*(kind for kind in registry.kinds() if not kind.startswith(INTERNAL)), CANVAS})


def jobs_page(
    facade: Coordinator, state: str | None, kind: str | None, prefix: str, limit: int, cursor: Cursor | None
) -> dict[str, Any]:
    """Return a page of rows, how many jobs there are, and where to go on."""
    page = facade.state_manager.page(state=state, kind=kind, prefix=prefix, limit=limit, cursor=cursor)
    return {
        "jobs": [row(job) for job in page.jobs],
        "next": str(page.next) if page.next else "",
        "counts": facade.state_manager.counts(),
        "now_ms": facade.state_manager.now_ms(),
    }


def row(job: JobStatus) -> dict[str, Any]:
    """Return one row of the list."""
    error = job.error or {}
    return {
        "id": job.id,
        "kind": job.kind,
        "state": str(job.state),
        "created_ms": job.created_ms,
        "started_ms": job.started_ms,
        "finished_ms": job.finished_ms,
        "done": job.steps_done,
        "total": job.steps_total,
        "lost": job.steps_lost,
        "note": error.get("message") or job.reason,
    }


def job_view(facade: Coordinator, job: str, known: str = "") -> dict[str, Any]:
    """Return all that a job's page shows; pictures and lists only where they are not what ``known`` names."""
    status = facade.status(job)
    stands = standing(facade.state_manager, job)
    events = facade.events(job)
    now_ms = facade.state_manager.now_ms()
    errors = stands.errors or ([status.error] if status.error else [])
    parts = {
        "graph": _graph(job, stands, has_ended=status.state.is_terminal),
        "timeline": timeline(stands.ran, events, now_ms),
        "flags": [asdict(flag) for flag in status.flags],
        "errors": errors,
        "events": [asdict(event) for event in reversed(events[-SHOWN_EVENTS:])],
    }
    marks = {name: _mark(name, part) for name, part in parts.items()}
    have = set(known.split(","))
    return {
        "job": {
            **row(status),
            "version": status.version,
            "reason": status.reason,
            "attempts": len(stands.ran),
            "running": len(stands.running),
            "retrying": 0 if status.state.is_terminal else len(stands.retrying),
        },
        "params": status.params,
        "now_ms": now_ms,
        "marks": marks,
        **{name: part for name, part in parts.items() if marks[name] not in have},
    }


def _mark(name: str, part: Any) -> str:
    return hashlib.sha256(repr((name, part)).encode()).hexdigest()[:16]


def _graph(job: str, stands: Standing, *, has_ended: bool) -> str:
    """Return the job's graph as SVG, or a line of words where it can't be drawn."""
    if stands.plan is None:
        return ""
    graph = _folded(job, stands.plan, stands.fragments)
    if len(graph.nodes) > MOST_NODES:
        return f"<p>The graph has {len(graph.nodes):,} parts: too many to draw.</p>"
    return draw(graph, lambda node: _tally(node, stands, has_ended=has_ended))


def _folded(job: str, plan: Plan, fragments: Mapping[str, Plan]) -> Graph:
    """Return the graph of a job, kept while neither its plan nor what has expanded is another."""
    expanded = frozenset(fragments)
    kept = _graphs.get(job)
    if kept and kept[0] is plan and kept[1] == expanded:
        return kept[2]
    graph = fold(plan, fragments)
    _graphs[job] = (plan, expanded, graph)
    while len(_graphs) > GRAPHS_KEPT:
        _graphs.popitem(last=False)
    return graph


def _tally(node: Node, stands: Standing, *, has_ended: bool) -> Tally:
    keys = set(node.keys)
    expanded = {key for key, plan in stands.fragments.items() if not isinstance(plan, Stream)}
    return Tally(
        total=1 if node.kind == "race" else len(keys),
        done=len(keys & (stands.recorded | (expanded - stands.lost))),  # expanded: it has done its part
        lost=0 if node.kind == "race" else len(keys & stands.lost),
        failed=len(keys & stands.failed),
        running=len(keys & stands.running),
        retrying=0 if has_ended else len(keys & stands.retrying),
        waiting="not run" if has_ended else "waiting",
    )
