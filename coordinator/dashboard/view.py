"""What the Jobs tab shows, as JSON.

Owns the shape of rows and of a job's page. Invariant: nothing is shown of a job's
parameters that ``status`` would not show, and all times are Redis', sent with
Redis' own "now", so that a browser's clock decides nothing.
"""

from __future__ import annotations

from typing import Any

import coordinator
from coordinator import registry
from coordinator.coordinator import Coordinator
from coordinator.state.overview import INTERNAL, Cursor
from coordinator.states import JobStatus
from coordinator.submission import CANVAS

ASSETS_VERSION = coordinator.__version__


def kinds() -> list[str]:
    """Return the kinds that one may look for."""
    return sorted({*(kind for kind in registry.kinds() if not kind.startswith(INTERNAL)), CANVAS})


def jobs_page(
    facade: Coordinator, state: str | None, kind: str | None, prefix: str, limit: int, cursor: Cursor | None
) -> dict[str, Any]:
    """Return a page of rows, how many jobs there are, and where to go on."""
    page = facade.page(state=state, kind=kind, prefix=prefix, limit=limit, cursor=cursor)
    return {
        "jobs": [row(job) for job in page.jobs],
        "next": str(page.next) if page.next else "",
        "counts": facade.state_manager.counts(),
        "now_ms": facade.state_manager.now_ms(),
    }


def row(job: JobStatus) -> dict[str, Any]:
    """Return one row of the list."""
    error = job.error or {}
    return {
        "id": job.id,
        "kind": job.kind,
        "state": str(job.state),
        "created_ms": job.created_ms,
        "started_ms": job.started_ms,
        "finished_ms": job.finished_ms,
        "done": job.steps_done,
        "total": job.steps_total,
        "note": error.get("message") or job.reason,
    }


def job_view(facade: Coordinator, job: str, known: str = "") -> dict[str, Any]:
    """Return all that a job's page shows."""
    return {"job": row(facade.status(job))}
