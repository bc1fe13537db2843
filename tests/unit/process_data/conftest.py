"""What the tests of the data-quality gate share: running it whole, in this process, without Celery."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.process_data.clean import clean
from tasks.process_data.merge import merge
from tasks.process_data.params import ProcessData
from tasks.process_data.publish import publish
from tasks.process_data.survey import survey
from tasks.process_data.workspace import Workspace

Run = Callable[..., dict[str, Any]]


def run_whole(
    source: Any, rules: Any, destination: Path, *, job_id: str = "job", **more: Any
) -> dict[str, Any]:
    """Survey, clean, merge and publish, as the canvas would."""
    params = ProcessData(source=source, rules=rules, destination=str(destination), **more)
    workspace = Workspace(Path(params.destination), job_id)
    cleaned = [clean(workspace, item) for item in survey(params, workspace)]
    return publish(workspace, merge(workspace, cleaned))


def params_for(source: Any, rules: Any, destination: Path, **more: Any) -> ProcessData:
    return ProcessData(source=str(source), rules=rules, destination=str(destination), **more)


def valid_rows(destination: Path) -> list[tuple[Any, ...]]:
    """All valid rows, part after part."""
    import polars as pl

    return [row for part in sorted(destination.glob("parts/*")) for row in pl.read_parquet(part).rows()]


def quarantined(destination: Path) -> list[dict[str, Any]]:
    """All quarantined rows, file after file."""
    return [json.loads(line) for line in quarantine_bytes(destination).splitlines()]


def quarantine_bytes(destination: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(destination.glob("quarantine/*")))


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder and the sha256 of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write a file below the test's own folder."""

    def write(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write
