"""Which live workers can serve the queues of a plan. Asks the workers; changes nothing.

Owns the verdict on each queue. Invariant: a broker that can't be reached makes the answer
"not asked", never an error: a plan can be looked at without any server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kombu.exceptions import OperationalError

from coordinator import about
from coordinator.errors import BrokerUnreachable
from coordinator.forecast import Forecast, QueueForecast
from coordinator.parts import Parts


@dataclass(frozen=True, slots=True)
class Served:
    """A queue, and who reads it."""

    queue: str
    messages: int  # known now
    more: tuple[str, ...]  # keys of the ``each`` steps that add to it
    workers: tuple[str, ...] | None  # that read it and know some of its tasks; None: they could not be asked
    unknown: tuple[str, ...] = ()  # tasks that none of them knows
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Serving:
    """The queues of a forecast."""

    queues: tuple[Served, ...]
    fault: str = ""  # why the workers could not be asked


def serving(parts: Parts, forecast: Forecast) -> Serving:
    """Ask the workers which of a forecast's queues they can serve."""
    try:
        workers = about.ask(parts.app, parts.settings)
    except (BrokerUnreachable, OperationalError, OSError) as error:
        queues = (Served(q.name, q.messages, tuple(q.more), None) for q in forecast.queues)
        return Serving(tuple(queues), str(error))
    return Serving(tuple(_served(queue, workers) for queue in forecast.queues))


def _served(queue: QueueForecast, workers: Sequence[about.WorkerAbout]) -> Served:
    readers = [worker for worker in workers if queue.name in worker.queues]
    able = tuple(worker.name for worker in readers if not queue.tasks or worker.tasks & queue.tasks)
    unknown = sorted(queue.tasks.difference(*(worker.tasks for worker in readers)))
    if not readers:
        unknown, advice = [], f"start one: `manage.py worker -Q {queue.name}`"
    elif unknown:
        names = ", ".join(unknown)
        advice = f"none of them knows {names}: start one with the COORDINATOR_JOBS that name it"
    else:
        advice = ""
    return Served(queue.name, queue.messages, tuple(queue.more), able, tuple(unknown), advice)
