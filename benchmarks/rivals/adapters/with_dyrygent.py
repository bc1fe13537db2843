"""celery-dyrygent: plain Celery's tasks, moved on by a processor task that looks at their results.

The processor looks again after 1 s, the shortest that its retry policy takes (10 to 30 s by
default, 2 s after it has sent something); a step is not given what those before it returned.
"""

from __future__ import annotations

import time

from celery import chain, chord
from celery_dyrygent.tasks import register_workflow_processor
from celery_dyrygent.workflows import Workflow

from benchmarks.noop_tasks import noop
from benchmarks.plain_app import app

app.set_default()
register_workflow_processor(app)


def workflow(canvas: object) -> Workflow:
    work = Workflow()
    work.set_retry_policy("random", 1, 1)
    work.add_celery_canvas(canvas)
    return work


def run(canvas: object) -> None:
    result = workflow(canvas).apply_async()
    while (state := result.backend.get_state(result.id)) in ("PENDING", "RETRY"):
        time.sleep(0.002)
    assert state == "SUCCESS", state


class Side:
    def chain(self, length: int) -> None:
        run(chain(*[noop.si(n) for n in range(length)]))

    def fan(self, size: int) -> None:
        run(chord([noop.si(n) for n in range(size)], noop.si(size)))

    def submit(self) -> None:
        workflow(noop.si(1)).apply_async()
