"""What a worker of the solo pool needs to take its next message at once.

Owns one repair of Celery's loop. Invariant: an ack leaves before the loop waits for what it
brings. The loop runs what ``call_soon`` has gathered, then polls; a solo worker runs its task
among what was gathered, so the ack it adds would lie there until the poll's time is over, which
is up to two seconds for each step.
"""

from __future__ import annotations

from typing import Any

from celery import bootsteps
from celery.concurrency.solo import TaskPool


class PromptAcks(bootsteps.Step):
    """Acknowledges in the thread that ran the task: in a solo worker it is the loop's own."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def include_if(self, consumer: Any) -> bool:
        return isinstance(consumer.pool, TaskPool)

    def create(self, consumer: Any) -> None:
        consumer.call_soon_ack = _at_once


def _at_once(call: Any, *args: Any, **kwargs: Any) -> Any:
    call(*args, **kwargs)
    return call
