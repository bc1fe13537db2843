"""Where the steps of one job stand, in few reads however large their results are.

Owns the reads behind a job's picture. Invariant: no step's value is read, and one
standing costs a bounded number of attempts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kombu.utils.json import loads

from coordinator.plan import Plan
from coordinator.state.manager import StateManager

ATTEMPTS_AT_ONCE = 2000
#: Of a larger job only so many attempts are read for its timeline, and errors for its page.
MOST_ATTEMPTS = 20_000
MOST_ERRORS = 20


@dataclass(frozen=True, slots=True)
class Ran:
    """One attempt that ended with a record, or one that runs or failed."""

    key: str
    attempt: int
    started_ms: int
    ended_ms: int | None  # None: not ended, or not known
    worker: str
    state: str  # succeeded | running | failed


@dataclass(frozen=True)
class Standing:
    """The steps of a job at one moment, by key."""

    plan: Plan | None  # None for a job that was rejected at once, or whose plan is gone
    fragments: Mapping[str, Plan]
    recorded: frozenset[str]  # without the lost ones
    lost: frozenset[str]
    failed: frozenset[str]
    running: frozenset[str]
    retrying: frozenset[str]
    ran: list[Ran] = field(default_factory=list)  # a sample where a job has very many
    errors: list[dict[str, Any]] = field(default_factory=list)  # the first few


def standing(state: StateManager, job: str) -> Standing:
    """Return where the steps of a job stand."""
    plan, records, attempts, errors, fragments = state.keys.named(job, "p r a x g")
    pipe = state.client.pipeline(transaction=False)
    pipe.exists(plan)
    pipe.hkeys(records)
    pipe.hgetall(attempts)
    pipe.hkeys(errors)
    pipe.hlen(fragments)
    has_plan, recorded, begun, failed, expanded = pipe.execute()
    lost, ran = _recorded(state, records)
    known = {key.decode() for key in recorded} - lost
    keys = {key.decode() for key in failed} - known
    open_steps = {key.decode(): loads(text) for key, text in begun.items()}
    live = {key for key, entry in open_steps.items() if entry[5]}
    retried = {key for key, entry in open_steps.items() if entry[2] and not entry[5]} - keys
    return Standing(
        plan=state.plan(job) if has_plan else None,
        fragments=state.fragments(job) if expanded else {},
        recorded=frozenset(known),
        lost=frozenset(lost - keys),
        failed=frozenset(keys),
        running=frozenset(live),
        retrying=frozenset(retried),
        ran=[*ran, *_open(open_steps, keys)],
        errors=_errors(state, errors, sorted(keys)[:MOST_ERRORS]),
    )


def _recorded(state: StateManager, records: str) -> tuple[set[str], list[Ran]]:
    """Return the keys of the lost steps, and the attempts of those that are recorded."""
    lost: set[str] = set()
    found: list[Ran] = []
    names: dict[str, str] = {}
    cursor = "0"
    while len(found) < MOST_ATTEMPTS:
        cursor, lines = state._run("attempts", [records], [cursor, ATTEMPTS_AT_ONCE])
        for line in lines.splitlines():
            key, *rest = line.split("\t")
            if not rest:
                lost.add(key)
                continue
            attempt, started, runtime, worker = rest
            name = names.get(worker) or names.setdefault(worker, loads(worker))
            found.append(Ran(key, int(attempt), int(started), int(started) + int(runtime), name, "succeeded"))
        if cursor == "0":
            break
    return lost, found


def _open(steps: Mapping[str, list[Any]], failed: set[str]) -> list[Ran]:
    """Return the attempts that run, and those that failed for good: when these ended is an event's."""
    return [
        Ran(key, attempt, int(started), None, token.partition("~")[0], "running" if live else "failed")
        for key, (attempt, _, _, token, started, live) in steps.items()
        if started and (live or key in failed)
    ]


def _errors(state: StateManager, errors: str, keys: list[str]) -> list[dict[str, Any]]:
    texts = state.client.hmget(errors, keys) if keys else []
    return [loads(text) for text in texts if text is not None]
