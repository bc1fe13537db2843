"""Small kinds that the command line's tests run: they add, fail until told otherwise, or wait at a gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celery import chain, chord
from pydantic import BaseModel, ConfigDict, Field

from coordinator import job
from coordinator.app import app


class Sum(BaseModel):
    """What ``sum`` takes."""

    model_config = ConfigDict(extra="forbid")

    numbers: list[int] = Field(description="Numbers to double and add up.")
    needs: str = Field("", description="File without which the sum fails.")
    gate: str = Field("", description="FIFO that the sum waits at until something is written.")


@app.task(name="cli.not_empty")
def not_empty(params: dict[str, Any]) -> str | None:
    return None if params["numbers"] else "expected at least one number, got none"


@app.task(name="cli.double")
def double(number: int) -> int:
    return number * 2


@app.task(name="cli.total")
def total(numbers: list[int], needs: str, gate: str) -> int:
    if gate:
        Path(gate).read_text()
    if needs and not Path(needs).exists():
        raise FileNotFoundError(f"no file {needs}")
    return sum(numbers)


@job("sum", params=Sum, checks=[not_empty])
def sum_up(p: Sum) -> Any:
    """Double numbers and add them up."""
    return chain(chord([double.s(n) for n in p.numbers], total.s(needs=p.needs, gate=p.gate)))
