"""Words for canvas that Celery lacks. Pure."""

from __future__ import annotations

from celery import Signature

from coordinator.errors import UnsupportedCanvas


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
