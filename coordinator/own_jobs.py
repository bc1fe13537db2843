"""Jobs of the product's own: sent straight from a canvas, of an internal kind, in nobody's way.

Owns their submission, for ``chaos``, ``bench`` and the delivery of alerts. Invariant: their
kind begins with ``INTERNAL``, so lists of jobs leave them out.
"""

from __future__ import annotations

from contextlib import suppress

from celery import Signature

from coordinator.compiler import compile_canvas
from coordinator.errors import Unreachable
from coordinator.parts import Parts
from coordinator.plan import Plan
from coordinator.states import State, new_job_id


def submit_own(parts: Parts, kind: str, canvas: Signature) -> str:
    """Submit a canvas as a job of an internal kind; returns its id.

    Raises:
        StateUnreachable: nothing was submitted. Without a broker the reconciler sends it later.
    """
    job = new_job_id(kind)
    if plan := record_own(parts, job, kind, canvas):
        with suppress(Unreachable):  # it is recorded: the reconciler sends it
            parts.outbox.send_first(job, plan)
    return job


def record_own(parts: Parts, job: str, kind: str, canvas: Signature, *, params: str = "{}") -> Plan | None:
    """Record a canvas as a job, to be sent by the caller or else by the reconciler.

    Returns its plan, or None where there is a job of that id: it is left as it is.
    """
    plan = compile_canvas(canvas)
    fields = {"kind": kind, "version": "1", "total": plan.size, "params": params}
    fields |= {"params_hash": "-", "receipt": "-"}
    (answer, *_) = parts.state.submit(job, State.PROCESSING, fields, plan=plan)
    return plan if answer == "created" else None
