"""What a plan will send: how many messages to which queues, and what must be known there. Pure.

Owns the counting before anything is sent. Invariant: what is counted is what a run without a
failure sends; where that depends on values or on a race, the bounds hold and the words say on
what. Retries, redeliveries, error callbacks and ``replace`` are not counted: no plan tells of
them. Who serves the queues is ``serving.py``'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from celery import Signature

from coordinator.canvas import EACH
from coordinator.compiler import compile_canvas
from coordinator.counted import counted
from coordinator.plan import NEVER, Plan, PlannedStep, with_defaults
from coordinator.stream import BATCH, FAN_IN, MOST_IN_BATCH, Stream, count_of

MAPS = ("celery.map", "celery.starmap", BATCH)
OWN = ("celery.", "coordinator.")  # tasks that every worker has


@dataclass(frozen=True, slots=True)
class More:
    """What an ``each`` adds once it knows its items."""

    step: str  # its key
    task: str  # of an item
    words: str  # on what it depends
    least: int = 0
    most: int | None = None  # None: no bound is known before


@dataclass(slots=True)
class QueueForecast:
    """What goes to one queue."""

    name: str
    messages: int = 0  # known now
    more: list[str] = field(default_factory=list)  # keys of the ``each`` steps that add to it
    tasks: set[str] = field(default_factory=set)  # what a worker there must have registered


@dataclass(frozen=True, slots=True)
class Forecast:
    """The messages of a plan."""

    messages: int  # known now
    spared: int  # so many of them at most are not sent, where races are decided early
    more: tuple[More, ...]
    queues: tuple[QueueForecast, ...]  # by name

    @property
    def least(self) -> int:
        return self.messages - self.spared + sum(more.least for more in self.more)

    @property
    def most(self) -> int | None:
        """The bound above, or None where there is none."""
        bounds = [more.most for more in self.more]
        return None if None in bounds else self.messages + sum(bound or 0 for bound in bounds)


def forecast(
    plan: Plan, queue_of: Callable[[PlannedStep], str], fragments: Mapping[str, Plan] | None = None
) -> Forecast:
    """Count what a plan sends.

    Args:
        plan: of a job, or of a request that would make one.
        queue_of: where a step goes.
        fragments: the plans that took the place of steps, by key, where the job runs already.
    """
    queues: dict[str, QueueForecast] = {}
    grown = {key: part for key, part in (fragments or {}).items() if not isinstance(part, Stream)}
    plans = [plan, *grown.values()]
    sent = [step for part in plans for step in part.steps if step.after != NEVER]
    for step in sent:
        queue = queues.setdefault(name := queue_of(step), QueueForecast(name))
        queue.messages += 1
        queue.tasks |= tasks_of(step)
    adding = [step for step in sent if step.task == EACH and step.key not in grown]
    more = tuple(_more(step, queues, queue_of, plan.defaults) for step in adding)
    spared = sum(map(_spared, plans))
    return Forecast(len(sent), spared, more, tuple(queues[name] for name in sorted(queues)))


def tasks_of(step: PlannedStep) -> set[str]:
    """Return the tasks that a worker must have to run a step: of a map or a batch, that of its items."""
    is_map = step.task in MAPS and step.kwargs
    return _needed(step.kwargs["task"]["task"] if is_map and step.kwargs else step.task)


def _needed(task: str) -> set[str]:
    return set() if task.startswith(OWN) else {task}


def _spared(plan: Plan) -> int:
    """Return how many messages are not sent at most, where each race is won by its shortest lane."""
    found = 0
    for race, lanes in plan.races.items():
        if not plan.by_key[race].lane:  # an inner race goes with the lane that it is in
            sizes = [
                sum(step.after != NEVER for step in plan.steps[first : last + 1]) for first, last in lanes
            ]
            found += sum(sizes) - min(sizes)
    return found


# -- what an each adds ------------------------------------------------------------


def _more(
    step: PlannedStep,
    queues: dict[str, QueueForecast],
    queue_of: Callable[[PlannedStep], str],
    defaults: Mapping[str, Any],
) -> More:
    kwargs = step.kwargs or {}
    batches, item = kwargs.get("batches"), Signature.from_dict(kwargs["step"])
    is_batched = batches is not None or "over" in kwargs
    if is_batched:
        options = with_defaults(item.options, defaults)
        stream = Stream.under(step, {"step": {**item, "options": options}})
        plan = Plan((stream.step(f"{step.key}/0"),), {}, "")
        tasks = [part["task"] for part in _parts(kwargs)]
    else:
        plan = compile_canvas(item, args=(None,), prefix=f"{step.key}/", defaults=defaults)
        tasks = []
    part = forecast(plan, queue_of)
    for found in part.queues:
        queue = queues.setdefault(found.name, QueueForecast(found.name))
        queue.more.append(step.key)
        queue.tasks |= found.tasks.union(*(_needed(task) for task in tasks))
    task = item.task if not item.get("subtask_type") else item["subtask_type"]
    words, least, most = _batched(step, batches or {}) if is_batched else _single(step, part)
    return More(step.key, task, words, 0 if step.lane else least, most)


def _parts(kwargs: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the signatures that a batch calls."""
    yield kwargs["step"]
    if combine := (kwargs.get("batches") or {}).get("combine"):
        yield combine
    if pages := (kwargs.get("over") or {}).get("pages"):
        yield pages


def _single(step: PlannedStep, item: Forecast) -> tuple[str, int, int | None]:
    number = "1" if item.most == item.messages else f"at least {item.least}"
    nested = "" if item.most == item.messages else ", and those of what is in it"
    return f"{number if nested else item.messages} for each item of {_items(step)}{nested}", 0, None


def _batched(step: PlannedStep, batches: Mapping[str, Any]) -> tuple[str, int, int | None]:
    over = (step.kwargs or {}).get("over") or {}
    size, merges = batches.get("batch") or 0, "combine" in batches
    merged = f", and 1 for each merge of {FAN_IN}" if merges else ""
    paged = ", and 1 for each page" if "pages" in over else ""
    if "range" not in over:
        each = (
            f"each {counted(size, 'item')}"
            if size
            else f"each batch, of about 100 ms of work and 1 to {MOST_IN_BATCH:,} items"
        )
        return f"1 for {each} of {_items(step)}{paged}{merged}", 0, None
    items = count_of(range(*over["range"]))
    most = _with_merges(math.ceil(items / (size or 1)), merges=merges)
    least = _with_merges(math.ceil(items / (size or MOST_IN_BATCH)), merges=merges)
    if size:
        return f"{counted(items, 'item')} in batches of {size:,}{merged}", least, most
    return (
        f"{counted(items, 'item')} in batches of about 100 ms of work, 1 to {MOST_IN_BATCH:,} items{merged}",
        least,
        most,
    )


def _items(step: PlannedStep) -> str:
    over = (step.kwargs or {}).get("over") or {}
    if "lines" in over:
        return f"the lines of {over['lines']}"
    if "pages" in over:
        return f"what {over['pages']['task']} gives"
    return f"what comes from {step.after}" if step.takes else "its list"


def _with_merges(batches: int, *, merges: bool) -> int:
    found, level = batches, batches
    while merges and level > 1:
        level = math.ceil(level / FAN_IN)
        found += level
    return found
