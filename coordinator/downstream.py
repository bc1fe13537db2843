"""What came of a step: the steps that must be forgotten with it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from coordinator.errors import InvalidRequest
from coordinator.plan import Plan, leaves, prefix_of
from coordinator.stream import Stream


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What goes from the journal when a step and all that came of it is forgotten."""

    records: frozenset[str]  # keys of steps
    begun: frozenset[str]  # keys of steps that run, or wait to be tried again
    delayed: frozenset[str]  # keys of steps that wait for a countdown first, begun or not
    fragments: frozenset[str]  # keys of steps whose canvas goes with them
    counts: Mapping[str, int]  # every join, by how many of its parts stay recorded


def forgetting(
    key: str,
    plan: Plan,
    fragments: Mapping[str, Plan],
    recorded: Collection[str],
    lost: Collection[str] = (),
    begun: Collection[str] = (),
) -> Forgetting:
    """Return what goes when the step ``key`` is to run again.

    Args:
        key: the step's key in its job.
        plan: the job's own plan.
        fragments: the plans of expanded steps, by key.
        recorded: the keys in the journal.
        lost: those among them that another lane's success has put out of their race.
        begun: the keys of the steps that have begun and are not recorded.

    Raises:
        InvalidRequest: the job has no such step.
    """
    plans = {"": plan, **{f"{step}/": fragment for step, fragment in fragments.items()}}
    if key not in plans.get(prefix_of(key), plan).by_key:
        raise InvalidRequest(f"the job has no step {key!r}; `steps` shows those that it has", step=key)
    owner = plans.get(prefix_of(key))
    if isinstance(owner, Stream):  # its items are cut anew, from the first on
        key = owner.owner
    undone, containing = _undone([key, *_lanes_of_race(key, plans)], plans, set(recorded) - set(lost), lost)
    gone, stopped, expanded = (
        {other for other in keys if not undone.isdisjoint(_within(other))}
        for keys in (recorded, begun, fragments)
    )
    delayed = {
        step.key
        for owner in plans.values()
        for step in owner.steps
        if step.is_delayed and not undone.isdisjoint(_within(step.key))
    }
    stay = set(recorded) - gone - containing
    counts = {
        join: sum(leaf in stay for leaf in leaves(shape))
        for owner in plans.values()  # also of what is forgotten: another canvas may come to stand there
        for join, shape in owner.joins.items()
    }
    return Forgetting(
        frozenset(set(recorded) - stay), frozenset(stopped), frozenset(delayed), frozenset(expanded), counts
    )


def _undone(
    todo: list[str], plans: Mapping[str, Plan], recorded: Collection[str], lost: Collection[str]
) -> tuple[set[str], set[str]]:
    """Return the steps that come of these, themselves included, and the steps and races that contain them."""
    undone: set[str] = set()
    containing: set[str] = set()
    sent: set[str] = set()  # triggers
    while todo:
        step = todo.pop()
        if step in undone:
            continue
        undone.add(step)
        for part in plans[prefix_of(step)].by_key[step].follow:
            if part[0] == "win" and part[1] in recorded and part[1] not in containing:
                todo += _racing_again(part[1], step, plans, lost)
            if part[0] in ("up", "win"):
                containing.add(part[1])
            elif part[0] == "next" and part[1] not in sent:  # each part of a join names what follows it
                sent.add(part[1])
                todo += [after.key for after in plans[prefix_of(part[1])].sent_by(part[1])]
    return undone, containing


def _lanes_of_race(key: str, plans: Mapping[str, Plan]) -> list[str]:
    """Return the steps of all lanes, where ``key`` is a race: it is run by running them."""
    prefix = prefix_of(key)
    lanes = plans[prefix].races.get(key, ())
    return [f"{prefix}{number}" for first, last in lanes for number in range(first, last + 1)]


def _racing_again(race: str, step: str, plans: Mapping[str, Plan], lost: Collection[str]) -> list[str]:
    """Return what runs again for a race to be decided anew: what was lost in it, how other lanes ended."""
    plan, lanes = plans[prefix_of(race)], set(_lanes_of_race(race, plans))
    found = [other for other in lost if not lanes.isdisjoint(_within(other))]
    for first, last in plan.races[race]:
        lane = [f"{plan.prefix}{number}" for number in range(first, last + 1)]
        if set(lane).isdisjoint(_within(step)):
            found += [key for key in lane if ("win", race) in [part[:2] for part in plan.by_key[key].follow]]
    return found


def _within(key: str) -> list[str]:
    """Return a key and those of the steps in whose place it stands: ``5/3/1``, ``5/3``, ``5``."""
    parts = key.split("/")
    return ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]
