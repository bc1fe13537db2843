"""Small tasks that the tests put into jobs. Workers import them through COORDINATOR_JOBS."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import chain, chord
from pydantic import BaseModel, Field

from coordinator import each, job
from coordinator.app import app
from coordinator.errors import InvalidParams
from coordinator.step import Step
from tests.waiting import wait_until


def note(path: str, line: str) -> None:
    """Append a line to a file, so that a test can count how often something ran."""
    with Path(path).open("a") as file:
        file.write(f"{line}\n")


def lines(path: Path) -> list[str]:
    """Return what was noted in a file: nothing where nobody has."""
    return path.read_text().splitlines() if path.exists() else []


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def double(x: int) -> int:
    return 2 * x


@app.task
def total(values: list[int]) -> int:
    return sum(values)


@app.task
def count_to(n: int) -> list[int]:
    return list(range(n))


@app.task
def mark(value: Any, path: str) -> Any:
    """Append a line to a file, so that a test can count how often this ran."""
    note(path, f"{value}")
    return value


@app.task
def fail(message: str) -> None:
    raise ValueError(message)


@app.task(bind=True, max_retries=3)
def flaky(self: Any, path: str, failures: int, countdown: float) -> int:
    """Fail the first times, then return the number of the attempt."""
    note(path, f"{self.request.retries} {time.time()}")
    if self.request.retries < failures:
        raise self.retry(countdown=countdown, exc=ValueError("not yet"))
    return int(self.fence)


@app.task(bind=True)
def die(self: Any, path: str, times: int) -> int:
    """Kill the process that runs this, the first times."""
    note(path, f"{self.fence}")
    if self.fence <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return int(self.fence)


@app.task
def wait_for_file(path: str, timeout_s: float = 30) -> str:
    wait_until(Path(path).exists, timeout_s=timeout_s, what=path)
    return Path(path).read_text()


@app.task(bind=True)
def grow(self: Any, n: int) -> Any:
    """Put a chord in its place."""
    return self.replace(chord([add.s(i, i) for i in range(n)], total.s()))


@app.task
def positive(params: dict[str, Any]) -> str | None:
    return None if params["n"] >= 0 else f"n: expected at least 0, got {params['n']}"


@app.task
def even(params: dict[str, Any]) -> None:
    if params["n"] % 2:
        raise InvalidParams(f"n: expected an even number, got {params['n']}")


class SumParams(BaseModel):
    """Parameters of ``sum_to``."""

    n: int = Field(description="how many numbers to add up")
    path: str = Field(default="", description="a file that each step writes a line to")


@job("sum_to", params=SumParams, checks=[positive, even], version="2")
def sum_to(p: SumParams) -> Any:
    """Add up twice the numbers below n."""
    return chain(count_to.s(p.n), each(double.s(), join=total.s()))


def until_ended() -> None:
    """Run on: somebody must end this step."""
    wait_until(lambda: False, timeout_s=60, what="somebody to end this step")


@app.task(bind=True)
def until_cancelled(self: Any, path: str) -> str:
    """Run until the job is cancelled, then say so in a file."""
    Path(f"{path}.started").touch()
    wait_until(lambda: self.cancelled, timeout_s=30, what="the job to be cancelled")
    Path(path).write_text("saw it")
    return "saw it"


@app.task(bind=True)
def half_or_whole(self: Any, path: str) -> str:
    """Give half a value where the job is cancelled, the whole once a file is there."""
    note(f"{path}.runs", "run")
    wait_until(lambda: self.cancelled or Path(path).exists(), timeout_s=30, what=path)
    return "half" if self.cancelled else "whole"


@app.task
def stubborn(path: str) -> None:
    """Never look at whether the job was cancelled."""
    Path(path).write_text(str(os.getpid()))
    until_ended()


@app.task(time_limit=1)
def too_long() -> None:
    until_ended()


@app.task(soft_time_limit=1)
def softly_too_long() -> None:
    until_ended()


@app.task
def pair(n: int, path: str) -> list[int]:
    """Give two numbers, and write a line so that a test can count the runs."""
    note(path, f"pair{n}")
    return [n, n + 1]


@app.task
def odd_only(x: int) -> int:
    """Refuse even numbers."""
    if x % 2 == 0:
        raise ValueError(f"{x} is even")
    return x


@app.task(bind=True, max_retries=2)
def uneasy(self: Any, x: int, path: str, countdown: float = 0.01) -> list[Any]:
    """Fail the first time for each item, then tell what the item knows of itself."""
    note(path, f"{x}:{self.request.retries}")
    if self.request.retries < 1:
        raise self.retry(countdown=countdown, exc=ValueError("not yet"))
    return [x, self.idempotency_key.partition(":")[2], self.fence]


@app.task
def joined(parts: list[str]) -> str:
    """Put texts together: in order, or it shows."""
    return "".join(parts)


@app.task
def as_text(x: int) -> str:
    return f"{x},"


@app.task
def numbers_by_page(cursor: int | None, size: int, end: int) -> dict[str, Any]:
    """Yield the numbers below ``end``, a page a call."""
    start = cursor or 0
    stop = min(start + size, end)
    return {"items": list(range(start, stop)), "next": stop if stop < end else None}


@app.task
def slowly(x: int, pause_s: float) -> int:
    time.sleep(pause_s)
    return x


class _Hooked(Step):
    """Its hook waits for a file, then leaves another."""

    abstract = True

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        wait_until(Path(args[0]).exists, what=args[0])
        Path(f"{args[0]}.seen").touch()


@app.task(base=_Hooked)
def hooked(path: str) -> int:
    return 1


@app.task
def after_file(x: int, path: str, timeout_s: float = 30) -> int:
    """Wait for a file from the third item on."""
    if x >= 3:
        wait_for_file.run(path, timeout_s)
    return x


@app.task
def mark_but_seven(x: int, path: str, gate: str) -> int:
    """Refuse 7 while a file is missing."""
    if x == 7 and not Path(gate).exists():
        raise ValueError("7 is refused")
    return int(mark.run(x, path))


@app.task
def stamp(path: str) -> int:
    """Give the number of runs so far."""
    with Path(path).open("a") as file:
        file.write("run\n")
    return len(Path(path).read_text().splitlines())


@app.task(bind=True)
def double_elsewhere(self: Any, value: int, queue: str) -> Any:
    """Put a step in its place that waits in another queue."""
    return self.replace(double.s(value).set(queue=queue))


@app.task
def held(value: Any, path: str) -> Any:
    """Give what came, once a file is there."""
    Path(f"{path}s").touch()
    wait_for_file.run(path)
    return value


@app.task
def boom(value: Any, path: str, after: str) -> Any:
    wait_until(Path(after).exists)
    if not Path(path).exists():
        raise ValueError("not yet")
    return value


@app.task(bind=True)
def countdown_by_replace(self: Any, n: int) -> Any:
    """Put itself in its place, again and again."""
    return n if n == 0 else self.replace(countdown_by_replace.s(n - 1))


@app.task(bind=True)
def grow_more(self: Any, n: int) -> Any:
    """Put a canvas in its place whose steps grow in their turn."""
    return self.replace(chain(grow.s(n), count_to.si(n), each(double.s(), join=total.s())))


class GrowthParams(BaseModel):
    """Parameters of ``grown``."""

    how: str = Field(description="each, batches or replace")


@job("grown", params=GrowthParams)
def grown(p: GrowthParams) -> Any:
    """Add up twice 0, 1 and 2, by steps that come about at run time."""
    canvases = {
        "each": chain(count_to.s(3), each(double.s(), join=total.s())),
        "batches": each(double.s(), combine=total.s(), batch=2, over=range(3)),
        "replace": grow_more.s(3),
    }
    return canvases[p.how]


@app.task
def wide(_item: int) -> str:
    return "x" * 500
