"""Tasks for the tests of races, callbacks and replaced steps, imported through COORDINATOR_JOBS."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery import chain, chord, group

from coordinator import each, race
from coordinator.app import app
from tests.flows import add, count_to, double, fail, note, total, wait_for_file
from tests.waiting import wait_until

#: Of the environment of a worker that knows these tasks.
JOBS = {"COORDINATOR_JOBS": "tests.flows,tests.integration.racers"}


@app.task(bind=True)
def run_on(self: Any, path: str, is_polite: bool, longest_s: float = 30) -> str:
    """Write down that this runs, and that it was told to stop or ran to its end."""
    note(path, f"began {os.getpid()}")
    ends = time.monotonic() + longest_s
    wait_until(
        lambda: time.monotonic() > ends or (is_polite and self.cancelled),
        timeout_s=longest_s + 1,
        what="the end of this step",
    )
    how = "ended" if time.monotonic() > ends else "stopped"
    note(path, f"{how} {time.time()}")
    return how


@app.task
def win_when(path: str, value: Any) -> Any:
    """Return the value once a file is there."""
    wait_until(Path(path).exists, what=path)
    return value


@app.task
def note_failure(step_id: str, path: str) -> None:
    note(path, step_id)


@app.task
def note_error(request: Any, exc: BaseException, traceback: str, path: str) -> None:
    """An error callback of the new form: request, exception, traceback."""
    note(path, f"{request.id} {type(exc).__name__} {exc} {'Traceback' in traceback}")


@app.task(bind=True)
def replaced(self: Any, value: Any, how: str) -> Any:
    """Put a canvas in its place that adds up to four times the value."""
    canvases = {
        "task": lambda: add.s(3 * value, value),
        "chain": lambda: chain(add.s(value, value), double.s()),
        "chord": lambda: chord([double.s(value), double.s(value)], total.s()),
        "group then task": lambda: chain(group(double.s(value), double.s(value)), total.s()),
        "nested": lambda: replaced.s(value, "chain"),
        "nested twice": lambda: chain(replaced.s(value, "nested"), add.s(0)),
        "nested in a header": lambda: chord([replaced.s(value, "chord"), add.s(0, 0)], total.s()),
    }
    return self.replace(canvases[how]())


@app.task(bind=True)
def replaced_by_group(self: Any, value: int) -> Any:
    return self.replace(group(double.s(value), double.s(value)))


@app.task(bind=True)
def replaced_by_failure(self: Any, _value: int) -> Any:
    return self.replace(chain(add.s(1, 1), fail.si("replaced")))


@app.task(bind=True)
def grown_lane(self: Any, path: str, timeout_s: float = 30) -> Any:
    """Put a canvas in its place of which one part waits for a file: four steps."""
    return self.replace(chord([add.s(1, 1), add.s(2, 2), waits.s(path, timeout_s)], total.s()))


@app.task
def waits(path: str, timeout_s: float) -> int:
    wait_for_file.run(path, timeout_s)
    return 0


@app.task
def triple(x: int) -> int:
    return 3 * x


@app.task
def as_list(values: list[Any]) -> list[Any]:
    return values


@app.task(bind=True)
def replaced_to(self: Any, value: int, how: str) -> Any:
    """Put a canvas in its place that has words which Celery lacks, callbacks, or nothing in it."""
    canvases = {
        "race": lambda: race(double.s(value), fail.si("a lane")),
        "each": lambda: each(double.s(), join=total.s(), over=range(value)),
        "batched": lambda: chain(count_to.s(value), each(double.s(), batch=2, combine=total.s())),
        "linked": lambda: double.s(value).set(link=double.s()),
        "immutable": lambda: add.si(1, 1),
        "dict": lambda: dict(double.s(value)),
        "empty": lambda: group(),
    }
    return self.replace(canvases[how]())
