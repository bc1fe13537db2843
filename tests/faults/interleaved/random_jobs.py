"""What a random job is made of: canvases, the plans that take a step's place, and streams.

Owns the choice. Invariant: it goes by the dice that it is given and by nothing else.
"""

from __future__ import annotations

import random
from typing import Any

from celery import Signature, chain, chord, group

from coordinator import race
from coordinator.compiler import compile_canvas, compile_phases
from coordinator.errors import UnsupportedCanvas
from coordinator.plan import PHASE_CHECK, PHASE_WORK, Plan, PlannedStep
from coordinator.validation import GATE
from tests.flows import add, double, mark, total

DEEPEST = 3
#: Nobody waits for it: the clock of these tests is rung by hand.
LATER_S = 1000
WITH_CHECKS = 0.4
SHAPES = ("task", "task", "later", "chain", "group", "chord", "race", "guarded", "guarded")


def random_plan(dice: random.Random) -> Plan:
    """Return the plan of a job of some steps, with checks before its work or without."""
    while True:
        phases = [(random_canvas(dice), PHASE_WORK)]
        if dice.random() < WITH_CHECKS:
            checks = chord([add.si(1, 1) for _ in range(dice.randint(1, 3))], Signature(GATE))
            phases.insert(0, (checks, PHASE_CHECK))
        try:
            plan = compile_phases(phases)
        except UnsupportedCanvas:
            continue
        if len(plan.steps) > 2:
            return plan


def plan_in_place_of(step: PlannedStep, dice: random.Random) -> Plan:
    """Return a plan to stand in a step's place, as ``Step.replace`` makes it."""
    place: dict[str, Any] = {
        "prefix": f"{step.key}/",
        "end": (("up", step.key), *step.follow),
        "errbacks": step.errbacks,
        "phase": step.phase,
    }
    while True:
        try:
            return compile_canvas(random_canvas(dice), **place)
        except UnsupportedCanvas:
            continue


def random_canvas(dice: random.Random, depth: int = 0) -> Any:
    """Return a canvas of any shape."""
    shape = dice.choice(SHAPES) if depth < DEEPEST else "task"

    def some(fewest: int) -> list[Any]:
        return [random_canvas(dice, depth + 1) for _ in range(dice.randint(fewest, 3))]

    match shape:
        case "task":
            return dice.choice([add.s(1), add.si(1, 1), double.s()])
        case "later":
            return add.si(1, 1).set(countdown=LATER_S)
        case "chain":
            return chain(some(2))
        case "group":
            return group(some(2))
        case "chord":
            return chord(some(1), total.s())
        case "race":
            return race(*some(2))
        case _:
            guarded = chain(random_canvas(dice, depth + 1), add.si(1, 1))
            return guarded.on_error(mark.si("failed", "nowhere"))


def random_each(dice: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return where the items of an ``each`` come from, and its limits."""
    source = dice.choice([{"range": [0, dice.randint(1, 5)]}, {"pages": {"task": "page"}}])
    limits: dict[str, Any] = {
        "step": {"task": "item"},
        "batch": dice.choice([1, 2]),
        "window": 2,
        "allow_failed": dice.choice([0, 0.5]),
    }
    if dice.random() < 0.5:
        limits["combine"] = {"task": "combine"}
    return source, limits
