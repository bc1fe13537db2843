"""A job that goes on when a test says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celery import chain, chord
from pydantic import BaseModel

from coordinator import job
from tests.flows import count_to, fail, total, wait_for_file


class Gated(BaseModel):
    """Parameters of ``gated``."""

    folder: Path
    parts: int
    then: str = ""  # an error to end with


@job("gated", params=Gated, version="1")
def gated(p: Gated) -> Any:
    """Wait for a file for each part, in one chord."""
    parts = [wait_for_file.si(str(p.folder / str(number))) for number in range(p.parts)]
    last = fail.si(p.then) if p.then else total.si([1])
    return chain(count_to.si(3), chord(parts, last))
