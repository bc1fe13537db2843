"""The table's figures on disk: every round of every row as soon as it is measured."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.rows.row import Figures, Scale

RESULTS = Path(__file__).resolve().parent / "results"
TABLE = RESULTS / "table.json"
PACKAGES = ("celery", "kombu", "amqp", "redis")


class Kept:
    """Rounds by row; each row has the scale that it was measured at."""

    def __init__(self, path: Path | None = TABLE) -> None:
        """Read what is there; with no path nothing is kept on disk."""
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        self.where: dict[str, Any] = {}
        if path and path.exists():
            found = json.loads(path.read_text())
            self.where, self.rows = found["where"], found["rows"]

    def rounds(self, row: str) -> list[Figures]:
        return list(self.rows[row]["rounds"]) if row in self.rows else []

    def scale(self, row: str) -> Scale:
        return Scale.from_json(self.rows[row]["scale"])

    def drop(self, row: str) -> None:
        self.rows.pop(row, None)

    def add(self, row: str, scale: Scale, figures: Figures) -> None:
        """Add a round and write everything, so that what ends the run loses no round that is measured."""
        kept = self.rows.setdefault(row, {"scale": asdict(scale), "rounds": []})
        kept["rounds"].append(figures)
        kept["date"] = f"{datetime.now(UTC):%Y-%m-%d}"
        self.where = where()
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            found = {"where": self.where, "rows": self.rows}
            self.path.write_text(json.dumps(_rounded(found), indent=1) + "\n")


def where() -> dict[str, Any]:
    """Say on what the figures were measured."""
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return value
