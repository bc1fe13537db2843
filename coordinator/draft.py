"""A plan while it grows. Pure.

Owns keys, joins, and what is written into each step about what follows it.
Invariant: a step counts towards one join at most; the steps of a race's lane
have consecutive keys, so that a script can name a lane by its first and last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from celery.canvas import Signature

from coordinator.plan import (
    NEVER,
    PHASE_ERRBACK,
    Follow,
    Plan,
    PlannedStep,
    Shape,
    has_leaves,
    leaves,
    with_defaults,
)

ERRBACK = "coordinator.errback"


@dataclass(frozen=True)
class Input:
    """What comes into a signature: a trigger to wait on, a value if any, and what holds for all in it."""

    after: str | None = None
    value: Shape | None = None  # None: no value comes in
    static: tuple[Any, ...] = ()  # arguments given to the canvas around it
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)  # they win over a signature's own
    links: tuple[Signature, ...] = ()
    errbacks: tuple[str, ...] = ()  # marks of the draft, or keys of another plan's steps
    lane: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Lane:
    """One of the canvases that race: of which race, its number, and where its keys begin and end."""

    trigger: str
    first: int
    end: int
    value: Shape


@dataclass
class Draft:
    """The steps and joins found so far."""

    prefix: str
    phase: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    steps: list[PlannedStep] = field(default_factory=list)
    joins: dict[str, Shape] = field(default_factory=dict)
    rest: list[Shape] = field(default_factory=list)  # waited for at the end, beside the result: links
    races: dict[str, list[Lane]] = field(default_factory=dict)
    errbacks: list[dict[str, Any]] = field(default_factory=list)
    _join_of: dict[int, str] = field(default_factory=dict)  # by the identity of a list that is kept in joins

    def next_key(self) -> str:
        return f"{self.prefix}{len(self.steps)}"

    def add(self, step: PlannedStep) -> None:
        if self.defaults:
            step = step._replace(options=with_defaults(step.options, self.defaults))
        self.steps.append(step)

    def trigger(self, after: str | None, value: Shape | None) -> str | None:
        """Return what a consumer of a value waits on, making a join where it is a list."""
        if value is None:
            return after
        if isinstance(value, str):
            return value
        if not has_leaves(value):
            return after
        if id(value) not in self._join_of:  # of the value itself: an equal one may stand elsewhere
            key = f"{self.prefix}j{len(self.joins)}"
            self.joins[key], self._join_of[id(value)] = value, key
        return self._join_of[id(value)]

    def errback(self, sig: Mapping[str, Any]) -> str:
        """Return the mark of an error callback, until its step has a key; the same callback has the same."""
        document = dict(sig)
        if document not in self.errbacks:
            self.errbacks.append(document)
        return f"#{self.errbacks.index(document)}"

    def finished(self, last: str | None, result: Shape, end: Follow) -> Plan:
        """Return the plan: every step knows what follows it, and error callbacks have their steps."""
        steps = _Followed(self, last, end).steps()
        first = len(steps)
        names = {f"#{number}": f"{self.prefix}{first + number}" for number in range(len(self.errbacks))}
        if names:
            steps = [
                step._replace(errbacks=tuple(names.get(mark, mark) for mark in step.errbacks))
                for step in steps
            ]
        for name, sig in zip(names.values(), self.errbacks, strict=True):
            own = {k: v for k, v in (sig.get("options") or {}).items() if k in ("queue", "priority")}
            steps.append(
                PlannedStep(
                    name,
                    ERRBACK,
                    kwargs={"errback": sig},
                    after=NEVER,
                    options=with_defaults(own, self.defaults),
                    phase=PHASE_ERRBACK,
                )
            )
        races = {race: [(lane.first, lane.end - 1) for lane in lanes] for race, lanes in self.races.items()}
        return Plan(
            tuple(steps),
            self.joins,
            result,
            prefix=self.prefix,
            races=races,
            lane_values={race: [lane.value for lane in lanes] for race, lanes in self.races.items()},
            rest=tuple(self.rest),
            defaults=self.defaults,
        )


class _Followed:
    """Works out what follows each step."""

    def __init__(self, draft: Draft, last: str | None, end: Follow) -> None:
        self._draft = draft
        self._last = last
        self._end = end
        self._waited_on = {step.after for step in draft.steps}
        self._joins_of = {key: join for join, shape in draft.joins.items() for key in leaves(shape)}
        self._sizes = {join: sum(1 for _ in leaves(shape)) for join, shape in draft.joins.items()}
        self._after_joins: dict[str, Follow] = {}
        self._wins = {
            lane.trigger: (race, number)
            for race, lanes in draft.races.items()
            for number, lane in enumerate(lanes)
        }

    def steps(self) -> list[PlannedStep]:
        return [step._replace(follow=self._after_key(step.key)) for step in self._draft.steps]

    def _after_key(self, key: str) -> Follow:
        own, join = self._after(key), self._joins_of.get(key)
        return own if join is None else own + self._after_join(join)

    def _after_join(self, join: str) -> Follow:
        """Return the same tuple for all steps of a join: one, and to be known again without a look inside."""
        if join not in self._after_joins:
            self._after_joins[join] = (("join", join, self._sizes[join]), *self._after(join))
        return self._after_joins[join]

    def _after(self, trigger: str) -> Follow:
        follow: Follow = (("next", trigger),) if trigger in self._waited_on else ()
        if trigger in self._wins:
            race, number = self._wins[trigger]
            whole = self._draft.races[race]
            lane = whole[number]
            win = ("win", race, lane.first, lane.end, whole[0].first, whole[-1].end, number)
            follow = (*follow, win, *self._after_key(race))
        return follow + self._end if trigger == self._last else follow
