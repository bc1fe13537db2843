"""Words for canvas that Celery lacks. Pure."""

from __future__ import annotations

import math
from typing import Any, Literal

from celery import Signature

from coordinator.errors import UnsupportedCanvas
from coordinator.signatures import described
from coordinator.stream import MOST_IN_FLIGHT

RACE = "coordinator.race"
EACH = "coordinator.each"
AUTO = "auto"
#: Of a batched step's options a batch can keep these: the others hold for one message, which has many items.
BATCH_OPTIONS = frozenset({"queue", "routing_key", "exchange", "exchange_type", "priority", "headers"})


def each(
    step: Signature,
    join: Signature | None = None,
    *,
    batch: int | Literal["auto"] | None = None,
    window: int | None = None,
    combine: Signature | None = None,
    allow_failed: float = 0.0,
    over: Any = None,
) -> Signature:
    """Run a step for every item of the list that the step before returned.

    With none of the arguments after ``join``, each item is a step of its own. With any of them items run in
    batches, at most ``window`` of them in flight, and memory stays flat however many items there are.

    Args:
        step: a signature that gets the item before its own arguments.
        join: a signature that gets the list of results, in the order of the items, or what ``combine`` made
            of them; without it that is the result.
        batch: how many items one message runs; "auto": about 100 ms of work, by measure.
        window: how many batches are in flight at most, up to 10,000; 100 if None.
        combine: a signature that gets a list of results, or of what it made of some before, and makes one of
            them. Its parts come in order, so it need be associative only; ``[]`` where there are no items.
        allow_failed: the share of items that may fail, 0 to 1; their results are left out.
        over: where the items come from, in place of the step before: a ``range``, ``{"lines": path}``, or the
            signature of a task that is called with a cursor, None at first, and returns
            ``{"items": […], "next": cursor, or None at the end}``. The step before may return the first two,
            a range as ``{"range": [start, stop, step]}``.

    Returns:
        a signature to stand in a chain.
    """
    for name, value in (("step", step), ("join", join), ("combine", combine)):
        if not (isinstance(value, Signature) or (name != "step" and value is None)):
            raise UnsupportedCanvas(f"each: expected {name} to be a Celery signature, got {described(value)}")
    limits = {"batch": batch, "window": window, "combine": combine, "allow_failed": allow_failed or None}
    kwargs: dict[str, Any] = {"step": dict(step)}
    if over is not None or any(value is not None for value in limits.values()):
        refuse_unfit(step, combine, over)
        kwargs["batches"] = _limits(batch, window, allow_failed)
        if combine is not None:
            kwargs["batches"]["combine"] = dict(combine)
    if over is not None:
        kwargs["over"] = _source(over)
    spread = Signature(EACH, kwargs=kwargs, immutable=over is not None)
    return spread | join if join is not None else spread


def race(*canvases: Signature) -> Signature:
    """Run canvases side by side; the first to succeed wins, and its value is the value.

    The others are told to stop (``self.cancelled``), ended where they go on, and recorded as lost. The job
    fails when all of them fail.

    Args:
        canvases: signatures of any type; each gets the value that comes before the race.

    Returns:
        a signature to stand anywhere in a canvas that is launched as a job.
    """
    if not canvases or not all(isinstance(canvas, Signature) for canvas in canvases):
        found = ", ".join(described(c) for c in canvases if not isinstance(c, Signature)) or "nothing"
        raise UnsupportedCanvas(f"race: expected Celery signatures, got {found}")
    return Signature(RACE, kwargs={"of": [dict(canvas) for canvas in canvases]})


def refuse_unfit(step: Signature, combine: Signature | None = None, over: Any = None) -> None:
    """Refuse what a batch, which calls one task in a loop, can't run."""
    for name, sig in (("step", step), ("combine", combine), ("over", over)):
        if not isinstance(sig, Signature):
            continue
        if sig.get("subtask_type") or sig.task == RACE:
            raise UnsupportedCanvas(
                f"each: expected {name} to be one task, got a {sig.get('subtask_type') or 'race'}; leave out "
                "batch, window, combine, allow_failed and over, so that each item of a list is a step"
            )
        kept = BATCH_OPTIONS if name == "step" else frozenset()
        lost = sorted(option for option, value in (sig.options or {}).items() if value and option not in kept)
        if lost:
            raise UnsupportedCanvas(f"each: {name} runs within a batch, which can't keep {', '.join(lost)}")


def _limits(batch: Any, window: Any, allow_failed: Any) -> dict[str, Any]:
    for name, value, most in (("batch", batch, math.inf), ("window", window, MOST_IN_FLIGHT)):
        is_count = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most
        if not (value is None or is_count or (name == "batch" and value == AUTO)):
            expected = 'a number from 1 or "auto"' if name == "batch" else f"a number from 1 to {most:,}"
            raise UnsupportedCanvas(f"each: expected {name} to be {expected}, got {value!r}")
    is_share = isinstance(allow_failed, int | float) and not isinstance(allow_failed, bool)
    if not (is_share and 0 <= allow_failed <= 1):
        raise UnsupportedCanvas(
            f"each: expected allow_failed to be a share from 0 to 1, got {allow_failed!r}"
        )
    found = {"batch": 0 if batch in (None, AUTO) else batch, "allow_failed": allow_failed}
    return found if window is None else {**found, "window": window}


def _source(over: Any) -> dict[str, Any]:
    if isinstance(over, range):
        return {"range": [over.start, over.stop, over.step]}
    if isinstance(over, Signature):
        return {"pages": dict(over)}
    if isinstance(over, dict) and set(over) == {"lines"}:
        return over
    raise UnsupportedCanvas(
        f'each: expected over to be a range, {{"lines": path}} or a signature, got {type(over).__name__}'
    )
