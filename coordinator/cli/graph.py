"""``graph``: the plan of a job, or of a kind before it is submitted, as text, Mermaid or SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import IO, TYPE_CHECKING

import click

from coordinator.cli.forecast import forecast_row, show_serving
from coordinator.cli.kinds import KindCommand
from coordinator.cli.options import Word, common
from coordinator.cli.output import show_json
from coordinator.cli.session import Session
from coordinator.cli.submit import params_for
from coordinator.errors import AmbiguousId, JobNotFound
from coordinator.states import StepState, StepStatus

if TYPE_CHECKING:
    from coordinator.graph import Graph, Node, Tally
    from coordinator.plan import Plan

#: The picture's own colours, where no page around it has any.
STYLE = """
.job-graph { font: 13px system-ui, sans-serif; background: #fff; color: #222 }
.graph-edge { fill: none; stroke: #b4b8c0; stroke-width: 1.5 } .graph-edge-done { stroke: #2e9e5b }
.graph-box, .graph-card, .graph-point circle { fill: #fff; stroke: #b4b8c0 } .graph-label { font-weight: 600 }
.graph-words { font-size: 11px; fill: #666 } .graph-bar { fill: #e4e6ea } .graph-bar-done { fill: #2e9e5b }
.graph-bar-failed { fill: #d1453b } .graph-point text { text-anchor: middle; font-size: 11px }
.graph-succeeded .graph-box { stroke: #2e9e5b } .graph-running .graph-box { stroke: #2f7fd1; stroke-width: 2 }
.graph-retrying .graph-box { stroke: #c98a1b } .graph-failed .graph-box { stroke: #d1453b; stroke-width: 2 }
.graph-waiting .graph-box, .graph-lost .graph-box { stroke-dasharray: 4 3 }
"""
DONE = {StepState.SUCCEEDED, StepState.EXPANDED}


@click.command("graph", cls=KindCommand)
@click.argument("what", metavar="JOB|KIND")
@click.option("-p", "pairs", multiple=True, metavar="KEY=VALUE", help="With KIND: a parameter.")
@click.option(
    "--params", "file", type=click.File(encoding="utf-8"), metavar="FILE", help="With KIND: as in submit."
)
@click.option(
    "--as",
    "form",
    type=Word(("text", "mermaid", "svg")),
    default="text",
    show_default=True,
    help="Form of the graph.",
)
@common
@click.pass_obj
def graph_command(
    session: Session, what: str, pairs: tuple[str, ...], file: IO[str] | None, form: str
) -> None:
    """Show the plan of a job, or of a kind with parameters: steps, what follows what, queues and workers.

    Many parallel steps stand as one.
    """
    from coordinator.graph import fold

    coordinator = session.coordinator()
    tally, has_ended = None, False
    fragments: dict[str, Plan] = {}
    if what in coordinator.kinds() or pairs or file:
        plan = coordinator.plan(what, params_for(session, what, pairs, file))
    else:
        job = _find_job(session, what)
        plan, fragments = coordinator.plan_of(job)
        tally = tally_of(coordinator.steps(job))
        has_ended = coordinator.status(job).state.is_terminal
    graph = fold(plan, fragments)
    is_told = (form == "text" or session.is_json) and not has_ended
    forecast = coordinator.forecast(plan, fragments) if is_told else None
    serving = coordinator.serving(forecast) if forecast else None
    if session.is_json:
        more = forecast_row(forecast, serving) if forecast and serving else {}
        show_json({"nodes": [_row(node, tally) for node in graph.nodes], **more})
        return
    click.echo(drawn(graph, tally, form))
    if forecast and serving:
        click.echo()
        show_serving(session, forecast, serving)


def _find_job(session: Session, what: str) -> str:
    try:
        return session.find(what)
    except AmbiguousId:
        raise
    except JobNotFound as error:
        raise JobNotFound(
            f"no kind is called {what!r}, and no job's id starts with it; `kinds` and `list` show those "
            "that exist",
            job=what,
        ) from error


def drawn(graph: Graph, tally: Callable[[Node], Tally] | None, form: str) -> str:
    """Return a graph in the form that was asked for."""
    from coordinator.graph import Tally, draw
    from coordinator.graph.written import as_mermaid, as_text

    if form == "mermaid":
        return as_mermaid(graph, tally)
    if form == "svg":
        picture = draw(graph, tally or (lambda node: Tally(len(node.keys))))
        head, close, rest = picture.partition(">")
        return f"{head}{close}<style>{STYLE}</style>{rest}"
    return as_text(graph, tally)


def tally_of(steps: Iterable[StepStatus]) -> Callable[[Node], Tally]:
    """Return how the steps of a node stand."""
    from coordinator.graph import Tally

    states = {step.key: step.state for step in steps}

    def tally(node: Node) -> Tally:
        found = [states.get(key, StepState.WAITING) for key in node.keys]
        return Tally(
            total=1 if node.kind == "race" else len(found),
            done=sum(state in DONE for state in found),
            lost=0 if node.kind == "race" else found.count(StepState.LOST),
            failed=found.count(StepState.FAILED),
            running=found.count(StepState.RUNNING),
            retrying=found.count(StepState.RETRYING),
        )

    return tally


def _row(node: Node, tally: Callable[[Node], Tally] | None) -> dict[str, object]:
    row = {
        "id": node.id,
        "kind": node.kind,
        "task": node.task,
        "steps": node.count,
        "after": sorted(node.after),
    }
    return row | ({"state": tally(node).state} if tally else {})
