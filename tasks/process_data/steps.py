"""The Celery tasks: thin skins over the pure functions of their names.

Each may run again after a kill at any place: it reads what earlier steps left in
the job's workspace and writes files whole. Results are small JSON; rows never
travel in a message. polars is imported when a step runs, never when this is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coordinator.app import app

from .params import ProcessData
from .workspace import Workspace

_NAME = "process_data."


@app.task(name=_NAME + "readable")  # type: ignore[untyped-decorator, unused-ignore]
def readable(params: dict[str, Any]) -> list[str] | None:
    """Check that every source is there and its head can be read."""
    from . import gate

    return gate.readable(ProcessData(**params))


@app.task(name=_NAME + "rules_compile")  # type: ignore[untyped-decorator, unused-ignore]
def rules_compile(params: dict[str, Any]) -> list[str] | None:
    """Check that the rules parse and work on the source's columns."""
    from . import gate

    return gate.rules_compile(ProcessData(**params))


@app.task(name=_NAME + "columns_present")  # type: ignore[untyped-decorator, unused-ignore]
def columns_present(params: dict[str, Any]) -> list[str] | None:
    """Check that the sources have the columns that the rules name, all the same."""
    from . import gate

    return gate.columns_present(ProcessData(**params))


@app.task(name=_NAME + "destination_free")  # type: ignore[untyped-decorator, unused-ignore]
def destination_free(params: dict[str, Any]) -> list[str] | None:
    """Check that the destination can be written and holds nobody's output."""
    from . import gate

    return gate.destination_free(ProcessData(**params))


@app.task(bind=True, name=_NAME + "survey")  # type: ignore[untyped-decorator, unused-ignore]
def survey(self: Any, params: dict[str, Any]) -> list[dict[str, Any]]:
    """Cut the sources into partitions at true row ends; return the partitions."""
    from .survey import survey as run

    request = ProcessData(**params)
    return run(request, _workspace(self, request.destination))


@app.task(bind=True, name=_NAME + "clean")  # type: ignore[untyped-decorator, unused-ignore]
def clean(self: Any, item: dict[str, Any], destination: str) -> dict[str, Any]:
    """Check one partition's rows; return its counts and the names and sha256 of its files."""
    from .clean import clean as run

    return run(_workspace(self, destination), item)


@app.task(bind=True, name=_NAME + "merge")  # type: ignore[untyped-decorator, unused-ignore]
def merge(self: Any, cleaned: list[dict[str, Any]], destination: str) -> dict[str, Any]:
    """Merge the partitions' counts into summary, report and manifest; return the counts."""
    from .merge import merge as run

    return run(_workspace(self, destination), cleaned)


@app.task(bind=True, name=_NAME + "publish")  # type: ignore[untyped-decorator, unused-ignore]
def publish(self: Any, merged: dict[str, Any], destination: str) -> dict[str, Any]:
    """Move the output into the destination, the manifest last; return the job's result."""
    from .publish import publish as run

    return run(_workspace(self, destination), merged)


def _workspace(step: Any, destination: str) -> Workspace:
    return Workspace(Path(destination), step.job_id)
