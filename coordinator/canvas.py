"""Words for canvas that Celery lacks. Pure."""

from __future__ import annotations

from celery import Signature

from coordinator.errors import UnsupportedCanvas

RACE = "coordinator.race"


def each(step: Signature, join: Signature | None = None) -> Signature:
    """Run a step for every item of the list that the step before returned.

    Args:
        step: a signature that gets the item before its own arguments.
        join: a signature that gets the list of results, in the order of the items; without it that list
            is the result.

    Returns:
        a signature to stand in a chain.
    """
    for name, value in (("step", step), ("join", join)):
        if not (isinstance(value, Signature) or (name == "join" and value is None)):
            raise UnsupportedCanvas(
                f"each: expected {name} to be a Celery signature, got {type(value).__name__}"
            )
    spread = Signature("coordinator.each", kwargs={"step": dict(step)})
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
        found = ", ".join(type(canvas).__name__ for canvas in canvases) or "nothing"
        raise UnsupportedCanvas(f"race: expected Celery signatures, got {found}")
    return Signature(RACE, kwargs={"of": [dict(canvas) for canvas in canvases]})
