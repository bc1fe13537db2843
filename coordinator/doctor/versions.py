"""Check what jobs that have not ended were made of: versions of their kinds, and tasks that nobody has.

Owns the look at plans that are older than the code around. Invariant: it looks at a bounded
number of jobs, the newest first, and at one plan for each version of a kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from coordinator import registry
from coordinator.about import WorkerAbout
from coordinator.counted import counted
from coordinator.doctor.finding import OK, WARN, Finding, judged
from coordinator.errors import JobNotFound, UnknownKind
from coordinator.forecast import tasks_of
from coordinator.parts import Parts
from coordinator.plan import NEVER
from coordinator.states import JobStatus, State

MOST_JOBS = 1000
MOST_PLANS = 100


def versions(parts: Parts) -> Iterator[Finding]:
    """Say which versions of which kinds have jobs that have not ended."""
    counts = Counter((job.kind, job.version) for job in _unended(parts) if job.version)
    if not counts:
        return
    old = [name for name in counts if _present(name[0]) not in (None, name[1])]
    found = [
        f"{kind} {version}: {counted(number, 'job')}" for (kind, version), number in sorted(counts.items())
    ]
    now = sorted({f"{kind} is at {_present(kind)} now" for kind, _ in old})
    advice = "each goes on with the plan that it has; keep the tasks that it names until it has ended"
    yield Finding("versions of jobs", OK, "; ".join([*found, *now]), advice if old else "")


def tasks(parts: Parts, workers: Sequence[WorkerAbout]) -> Iterator[Finding]:
    """Say which tasks of such jobs no worker has that answered."""
    known = frozenset().union(*(worker.tasks for worker in workers))
    seen: set[tuple[str, str]] = set()
    lacking: dict[str, str] = {}  # task -> a job that has it
    for job in _unended(parts):
        name = (job.kind, job.version)
        if job.version and name in seen:
            continue
        seen.add(name if job.version else (job.id, ""))
        if len(seen) > MOST_PLANS:
            break
        for task in sorted(_open_tasks(parts, job) - known):
            lacking.setdefault(task, job.id)
    found = "; ".join(f"no worker has {task}, of job {job}" for task, job in sorted(lacking.items()))
    yield judged(
        "tasks of jobs",
        found or "all known to a worker",
        "start a worker that has them (COORDINATOR_JOBS); their steps wait until then",
        fault=WARN if lacking else "",
    )


def _unended(parts: Parts) -> Iterator[JobStatus]:
    left = MOST_JOBS
    for state in (State.PROCESSING, State.RECEIVED, State.PAUSED):
        page = parts.state.page(state=state, limit=max(left, 1)) if left else None
        for job in page.jobs if page else ():
            left -= 1
            yield job


def _open_tasks(parts: Parts, job: JobStatus) -> set[str]:
    """Return the tasks of the steps that are not recorded; none where the job has gone meanwhile."""
    try:
        recorded = parts.state.recorded(job.id)
        plans = [parts.state.plan(job.id), *parts.state.fragments(job.id).values()]
    except JobNotFound:
        return set()
    steps = [
        step for plan in plans for step in plan.steps if step.after != NEVER and step.key not in recorded
    ]
    return {task for step in steps for task in tasks_of(step)}


def _present(kind: str) -> str | None:
    """Return the version that a kind has here, or None where it is not registered."""
    try:
        return registry.kind(kind).version
    except UnknownKind:
        return None
