"""Turn a Celery canvas into a plan: steps, and what follows each. Pure.

Owns the compile from chain, group and chord, nested in each other, to a flat
list of steps; the frontier; and the shape of the result. Invariant: what a
step's message says is a function of the plan alone, so sending a step again
never says anything new. Never touches Redis or a broker.

A *shape* is where a value comes from: a step's key, or a list of shapes.
A *trigger* names what has become ready to be sent: "^" the first steps, "3"
what follows step 3, "j0" what follows join 0, "=3" step 3 itself. A step that
puts a canvas in its place (key "5") has a plan of its own whose keys start
with "5/".
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from kombu.utils.json import dumps, loads

Shape = str | list["Shape"]
Follow = tuple[tuple[Any, ...], ...]

PHASE_CHECK = "check"
PHASE_WORK = "work"
PHASE_ERRBACK = "errback"  # sent when the job has failed
#: Options that put a step off; on a chord they hold for its header only.
DELAYS = ("countdown", "eta_ms")
#: The trigger that never comes about: of a step that is sent by its own name, or not at all.
NEVER = "!"


class PlannedStep(NamedTuple):
    """One step: a task, its own arguments, what it waits on and what follows it."""

    key: str  # unique in its job: "3", or "5/3" inside the plan of step 5
    task: str  # name of the Celery task
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None
    after: str | None = None  # the trigger that makes it ready; None: ready at once
    takes: bool = False  # whether the value of ``after`` goes before its own arguments
    follow: Follow = ()  # ("next", trigger) | ("join", key, size) | ("win", race, …) | ("up", key) | ("end",)
    options: Mapping[str, Any] | None = None  # queue, priority, time limits …
    place: int | None = None  # its place in a header, for its id
    phase: str = PHASE_WORK
    errbacks: tuple[str, ...] = ()  # keys of the steps to send when the job fails here
    lane: tuple[Any, ...] = ()  # in a race: its key, and the number of the step's lane

    @property
    def is_delayed(self) -> bool:
        """Whether it waits for a countdown or a time once it is its turn."""
        return any((self.options or {}).get(name) for name in DELAYS)

    @property
    def label(self) -> str:
        """The readable end of the step's id: ``clean`` or ``clean[17]``."""
        name = self.task.rpartition(".")[2]
        return name if self.place is None else f"{name}[{self.place}]"


@dataclass(frozen=True)
class Plan:
    """A compiled canvas. Immutable; stored once per job."""

    steps: tuple[PlannedStep, ...]
    joins: Mapping[str, Shape]  # join key -> shape of the list it makes
    result: Shape  # where the value of the whole comes from
    prefix: str = ""  # "" for a job's own plan, "5/" for that of step 5
    races: Mapping[str, Sequence[Sequence[int]]] = field(default_factory=dict)  # lanes: first and last step
    lane_values: Mapping[str, Sequence[Shape]] = field(default_factory=dict)  # what each of them gives
    rest: tuple[Shape, ...] = ()  # what must be recorded too before the whole is: what was linked
    defaults: Mapping[str, Any] = field(default_factory=dict)  # options of its steps, and of what they grow

    @cached_property
    def by_key(self) -> dict[str, PlannedStep]:
        return {step.key: step for step in self.steps}

    @cached_property
    def _following(self) -> dict[str | None, list[PlannedStep]]:
        following: dict[str | None, list[PlannedStep]] = {}
        for step in self.steps:
            following.setdefault(step.after, []).append(step)
        return following

    def sent_by(self, trigger: str) -> list[PlannedStep]:
        """Return the steps that ``trigger`` makes ready."""
        if trigger.startswith("="):
            step = self.by_key.get(trigger[1:])
            return [step] if step else []
        return self._following.get(None if trigger.endswith("^") else trigger, [])

    @cached_property
    def root_trigger(self) -> str:
        return f"{self.prefix}^"

    @property
    def size(self) -> int:
        """The number of steps that a job which succeeds has recorded."""
        return sum(1 for step in self.steps if step.phase != PHASE_ERRBACK)

    @property
    def errbacks(self) -> list[str]:
        """The keys of the error callbacks of the whole: those that every step has."""
        found = [step.errbacks for step in self.steps if step.phase == PHASE_WORK]
        return [key for key in found[0] if all(key in keys for keys in found)] if found else []

    def lanes_of(self, step: PlannedStep) -> list[list[Any]]:
        """Return the lanes that a step races in: race, number of lanes, its number, first and last step."""
        found: list[list[Any]] = []
        lane = step.lane
        while lane:
            race, number = lane
            found.append([race, len(self.races[race]), number, *self.races[race][number]])
            lane = self.by_key[race].lane
        return found

    def is_ready(self, trigger: str | None, recorded: Collection[str]) -> bool:
        """Whether what ``trigger`` names has come about, given the keys that are recorded."""
        if trigger is None:
            return True
        return all(key in recorded for key in leaves(self.joins.get(trigger, trigger)))

    def around(self, steps: Sequence[PlannedStep]) -> set[str]:
        """Return the keys of steps, and of those that they wait on."""
        sources = {step.after for step in steps if step.after is not None}
        before = {key for after in sources for key in leaves(self.joins.get(after, after))}
        return before.union(step.key for step in steps)

    def is_complete(self, recorded: Collection[str]) -> bool:
        """Whether the value of the whole is recorded, and what was linked to it."""
        return all(key in recorded for key in leaves([self.result, *self.rest]))

    def frontier(
        self, recorded: Collection[str], fragments: Mapping[str, Plan] | None = None
    ) -> list[PlannedStep]:
        """Return the steps that are ready and not recorded: what must be sent now.

        Args:
            recorded: keys of the steps whose result is in the journal.
            fragments: the plans of steps that put a canvas in their place, by key.
        """
        fragments = fragments or {}
        found: list[PlannedStep] = []
        todo = [iter(self._ready(recorded))]  # no recursion: steps may replace one another that often
        while todo:
            step = next(todo[-1], None)
            if step is None:
                todo.pop()
            elif step.key in fragments:
                todo.append(iter(fragments[step.key]._ready(recorded)))
            else:
                found.append(step)
        return found

    def _ready(self, recorded: Collection[str]) -> list[PlannedStep]:
        """Return the steps that are ready and not recorded, also those in whose place a canvas stands."""
        ready = {t: self.is_ready(t, recorded) for t in self._following}
        return [step for step in self.steps if step.key not in recorded and ready[step.after]]

    def dumps(self) -> bytes:
        """Return the plan as compressed JSON."""
        document = {
            "prefix": self.prefix,
            "joins": dict(self.joins),
            "result": self.result,
            "races": self.races,
            "lane_values": self.lane_values,
            "rest": self.rest,
            "steps": self.steps,
            "defaults": self.defaults,
        }
        return zlib.compress(dumps(document).encode(), 6)

    @classmethod
    def loads(cls, blob: bytes) -> Plan:
        """Read what ``dumps`` wrote."""
        return cls.of(loads(zlib.decompress(blob)))

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Plan:
        """Return a plan from its JSON document."""
        return cls(
            steps=tuple(_unpacked(row) for row in document["steps"]),
            joins=document["joins"],
            result=document["result"],
            prefix=document["prefix"],
            races=document.get("races", {}),
            lane_values=document.get("lane_values", {}),
            rest=tuple(document.get("rest", ())),
            defaults=document.get("defaults", {}),
        )


def leaves(shape: Shape) -> Iterator[str]:
    """Yield the keys of the steps that a shape is made of, in order."""
    if isinstance(shape, str):
        yield shape
    else:
        for part in shape:
            yield from leaves(part)


def has_leaves(shape: Shape) -> bool:
    """Whether any step's value is in a shape."""
    return next(leaves(shape), None) is not None


def filled(shape: Shape, values: Mapping[str, Any]) -> Any:
    """Return the value of ``shape``, given the values of its leaves."""
    if isinstance(shape, str):
        return values[shape]
    return [filled(part, values) for part in shape]


def prefix_of(key: str) -> str:
    """Return the prefix of the plan that a key or trigger belongs to: ``5/`` for ``5/j0``, ``=5/3``."""
    head, slash, _ = key.lstrip("=").rpartition("/")
    return head + slash


def with_defaults(options: Mapping[str, Any] | None, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return options, and a job's for those that a step lacks; its queue takes no step off a route."""
    own = options or {}
    is_routed = not own.keys().isdisjoint(("routing_key", "exchange"))
    return {name: v for name, v in defaults.items() if not (name == "queue" and is_routed)} | dict(own)


def _unpacked(row: list[Any]) -> PlannedStep:
    key, task, args, kwargs, after, takes, follow, options, place, phase, *later = row
    errbacks, lane = later or ((), ())  # a plan of an older version ends before these
    return PlannedStep(
        key,
        task,
        tuple(args),
        kwargs,
        after,
        takes,
        tuple(tuple(part) for part in follow),
        options,
        place,
        phase,
        tuple(errbacks),
        tuple(lane),
    )
