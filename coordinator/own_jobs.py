"""Jobs of the product's own: sent straight from a canvas, of an internal kind, in nobody's way.

Owns their submission for ``chaos`` and ``bench``. Invariant: their kind begins with
``INTERNAL``, so lists of jobs leave them out.
"""

from __future__ import annotations

from typing import Any

from celery import Signature

from coordinator.compiler import compile_canvas
from coordinator.errors import Unreachable
from coordinator.parts import Parts
from coordinator.states import State, new_job_id


def submit_own(parts: Parts, kind: str, canvas: Signature) -> str:
    """Submit a canvas as a job of an internal kind; returns its id.

    Raises:
        StateUnreachable: nothing was submitted. Without a broker the reconciler sends it later.
    """
    plan = compile_canvas(canvas)
    job = new_job_id(kind)
    fields: dict[str, Any] = {"kind": kind, "version": "1", "total": plan.size, "params": "{}"}
    fields |= {"params_hash": "-", "receipt": "-"}
    parts.state.submit(job, State.PROCESSING, fields, plan=plan)
    try:
        parts.outbox.send_first(job, plan)
    except Unreachable:
        pass  # it is recorded: the reconciler sends it
    return job
