"""Compile a Celery canvas to a plan: chain, group, chord, nested in each other.

Owns the walk over Celery's signatures. Invariant: a canvas either becomes a
plan that means the same, or is refused with the path of the signature that
can't be kept; nothing is dropped in silence. Pure: no I/O.
What Celery does with each shape, and where a job differs, stands in
``docs/reference/canvas.md``; the conformance suite compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from celery.canvas import Signature, chunks, group

from coordinator.canvas import EACH, RACE
from coordinator.draft import Draft, Input, Lane
from coordinator.errors import UnsupportedCanvas
from coordinator.plan import DELAYS, NEVER, PHASE_WORK, Follow, Plan, PlannedStep, Shape, has_leaves
from coordinator.signatures import (
    are_plain,
    is_empty,
    linked,
    members,
    options_of,
    refuse_unless_json,
    signature_of,
    tasks_of_chain,
)

#: Celery's own task that returns its arguments: the one step of a canvas that has none.
NOTHING = "celery.accumulate"


def compile_canvas(canvas: Any, *, phase: str = PHASE_WORK, **options: Any) -> Plan:
    """Compile a canvas: a Celery signature of any type, or its dict form; options as ``compile_phases`` has.

    Raises:
        UnsupportedCanvas: naming the path of the signature that can't be kept.
    """
    return compile_phases([(canvas, phase)], **options)


def compile_phases(
    phases: Sequence[tuple[Any, str]],
    *,
    prefix: str = "",
    end: Follow = (("end",),),
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    errbacks: tuple[str, ...] = (),
    is_list: bool = False,
) -> Plan:
    """Compile canvases that run one after the other, each in its phase and given no value.

    Args:
        prefix: what every key starts with: ``"5/"`` for a canvas that takes the place of step 5.
        end: what follows when the value of the whole is recorded.
        args: partial arguments, as ``canvas.apply_async`` takes them.
        kwargs: the same by name.
        defaults: options of every step that has none of its own by that name.
        errbacks: keys of the steps to send when the job fails in here.
        is_list: a group's value is a list of its members' values, however few they are.
    """
    draft = Draft(prefix, PHASE_WORK, defaults or {})
    inp = Input()
    for canvas, phase in phases:
        draft.phase = phase
        before = Input(
            after=draft.trigger(inp.after, inp.value),
            static=tuple(args),
            kwargs=kwargs or {},
            errbacks=errbacks,
        )
        inp = _compile(draft, signature_of(canvas, "canvas"), before, "canvas")
        inp = inp if is_list else _unwrapped(canvas, inp)
    shape: Shape = [] if inp.value is None else inp.value
    if not draft.steps:
        inp = _nothing(draft, inp)
        shape = inp.value or []
    elif not has_leaves(shape) and inp.after is not None:
        draft.rest.append(draft.joins.get(inp.after, inp.after))
    last = draft.trigger(None, [shape, *draft.rest]) if draft.rest else draft.trigger(inp.after, inp.value)
    return draft.finished(last, shape, end)


def _compile(draft: Draft, sig: Signature, inp: Input, path: str, place: int | None = None) -> Input:
    compile_one = _COMPILERS.get(sig.get("subtask_type") or sig["task"], _task)
    return compile_one(draft, sig, inp, path, place)


def _chain(draft: Draft, sig: Signature, inp: Input, path: str, place: int | None) -> Input:
    """Options and arguments are the first task's, links the last one's, error callbacks everyone's."""
    tasks = list(tasks_of_chain(sig, path))
    full = [(task, where) for task, where in tasks if not is_empty(task)]
    links = (*linked(sig, "link", path), *inp.links)
    if not full:
        return Input(after=inp.after, value=inp.value if inp.value is not None or not tasks else [])
    inner = _with_errbacks(draft, sig, inp, path)
    current = replace(
        _given(inner, sig), options={**options_of(sig, path), **inp.options}, links=() if full[1:] else links
    )
    for number, (task, where) in enumerate(full):
        out = _compile(draft, task, current, where, place)
        is_next_last = number == len(full) - 2
        current = Input(
            out.after,
            out.value,
            links=links if is_next_last else (),
            errbacks=inner.errbacks,
            lane=inp.lane,
        )
    return Input(after=current.after, value=current.value)


def _group(draft: Draft, sig: Signature, inp: Input, path: str, _index: int | None) -> Input:
    if inp.links or linked(sig, "link", path):
        raise UnsupportedCanvas(
            f"{path}: a group can't be linked to, as in Celery; make it a chord's header, or link its tasks",
            path=path,
        )
    inner = replace(
        _given(_with_errbacks(draft, sig, inp, path), sig), options={**options_of(sig, path), **inp.options}
    )
    return _parallel(draft, members(sig.tasks, f"{path}.group", inner.options), inner)


def _chord(draft: Draft, sig: Signature, inp: Input, path: str, place: int | None) -> Input:
    """Arguments are the header's; options everyone's; links and error callbacks the body's."""
    if sig.body is None:
        raise UnsupportedCanvas(f"{path}: expected a chord with a body, found none; use a group", path=path)
    body = signature_of(sig.body, f"{path}.body")
    if sig.immutable:
        inp = replace(inp, after=draft.trigger(inp.after, inp.value), value=None, static=(), kwargs={})
    inner = _with_errbacks(draft, sig, inp, path)
    options = {**options_of(sig, path), **inp.options}
    own_kwargs = (sig.kwargs or {}).get("kwargs") or {}
    # Celery calls the body's error callbacks when a task of the header fails.
    header = replace(
        _with_errbacks(draft, body, inner, f"{path}.body"),
        static=inp.static + tuple(sig.args or ()),
        kwargs={**own_kwargs, **inp.kwargs},
        options=options,
        links=(),
    )
    tasks = sig.tasks.tasks if isinstance(sig.tasks, group) else sig.tasks
    out = _parallel(draft, members(tasks, f"{path}.header", options), header)
    before_body = replace(
        inner,
        after=out.after,
        value=out.value,
        static=(),
        kwargs={},
        options={name: value for name, value in options.items() if name not in DELAYS},
        links=(*linked(sig, "link", path), *inp.links),
    )
    return _compile(draft, body, before_body, f"{path}.body", place)


def _chunks(draft: Draft, sig: Signature, inp: Input, path: str, place: int | None) -> Input:
    """Compile ``task.chunks(items, n)`` as what Celery makes of it: a group of starmaps."""
    parts = chunks(sig.kwargs["task"], sig.kwargs["it"], sig.kwargs["n"]).group()
    parts.options.update(sig.options or {})
    return _group(draft, parts, replace(inp, after=draft.trigger(inp.after, inp.value)), path, place)


def _race(draft: Draft, sig: Signature, inp: Input, path: str, place: int | None) -> Input:
    """The race is a step that is never sent: it is recorded when one of its lanes wins."""
    race = draft.next_key()
    inner = _with_errbacks(draft, sig, inp, path)
    draft.add(PlannedStep(race, RACE, after=NEVER, place=place, phase=draft.phase, lane=inp.lane))
    lanes: list[Lane] = []
    branches = sig.kwargs["of"]
    for number, branch in enumerate(branches):
        where, rests, first = f"{path}.race[{number}]", len(draft.rest), len(draft.steps)
        each = replace(_given(inner, sig), links=(), lane=(race, number))
        out = _compile(draft, signature_of(branch, where), each, where, number)
        if len(draft.steps) == first:
            raise UnsupportedCanvas(f"{where}: expected at least one task to race, found none", path=where)
        value: Shape = [] if out.value is None else out.value
        whole: Shape = [value, *draft.rest[rests:]] if draft.rest[rests:] else value
        del draft.rest[rests:]
        trigger = draft.trigger(out.after, whole)
        assert trigger is not None, "a lane with a step has an end"
        lanes.append(Lane(trigger, first, len(draft.steps), value))
    draft.races[race] = lanes
    return _callbacks(draft, (*linked(sig, "link", path), *inp.links), Input(race, race), inp, path)


def _task(draft: Draft, sig: Signature, inp: Input, path: str, place: int | None) -> Input:
    task = sig["task"]
    if sig.get("subtask_type"):
        raise UnsupportedCanvas(f"{path}: {sig['subtask_type']} can't be made durable yet", path=path)
    inner = _with_errbacks(draft, sig, inp, path)
    takes, args, kwargs = False, tuple(sig.get("args") or ()), dict(sig.get("kwargs") or {})
    if not sig.get("immutable"):
        args, kwargs = (*inp.static, *args), {**kwargs, **inp.kwargs}
        if inp.value is not None:
            takes = has_leaves(inp.value)
            args = args if takes else (inp.value, *args)
    if task in ("celery.map", "celery.starmap"):
        kwargs["it"] = list(kwargs["it"])
    step = PlannedStep(
        key=draft.next_key(),
        task=task,
        args=args,
        kwargs=kwargs,
        after=draft.trigger(inp.after, inp.value),
        takes=takes,
        options={**options_of(sig, path), **inp.options},
        place=place,
        phase=draft.phase,
        errbacks=inner.errbacks,
        lane=inp.lane,
    )
    if kwargs or step.options or not are_plain(args):
        refuse_unless_json([args, kwargs, step.options], task, path)
    if task == EACH:
        _refuse_unfit_each(step, path)
    draft.add(step)
    return _callbacks(draft, (*linked(sig, "link", path), *inp.links), Input(step.key, step.key), inner, path)


def _refuse_unfit_each(step: PlannedStep, path: str) -> None:
    """Refuse now what would be found when the items are known."""
    kwargs = step.kwargs or {}
    if not step.takes and not step.args and "over" not in kwargs:
        raise UnsupportedCanvas(
            f"{path}: expected a list of items for each, found nothing before it; give it over=", path=path
        )
    where = f"{path}.each"
    _compile(Draft("", PHASE_WORK), signature_of(kwargs["step"], where), Input(static=(None,)), where)


# -- what the shapes share ------------------------------------------------------


def _parallel(draft: Draft, members: Iterable[tuple[Signature, str, Mapping[str, Any]]], inp: Input) -> Input:
    parts: list[Shape] = []
    for number, (task, where, options) in enumerate(members):
        within = inp if options == inp.options else replace(inp, options=options)
        out = _compile(draft, task, within, where, number)
        parts.append([] if out.value is None else out.value)
    return Input(after=draft.trigger(inp.after, inp.value), value=parts)


def _given(inp: Input, sig: Signature) -> Input:
    """Return an input with the arguments that were bound to a canvas before its tasks' own."""
    return replace(inp, static=inp.static + tuple(sig.args or ()))


def _with_errbacks(draft: Draft, sig: Signature, inp: Input, path: str) -> Input:
    found = inp.errbacks
    for errback in linked(sig, "link_error", path):
        if errback.get("subtask_type"):
            raise UnsupportedCanvas(
                f"{path}: expected link_error to be a task, got a {errback['subtask_type']}", path=path
            )
        refuse_unless_json(dict(errback), errback.task, path)
        mark = draft.errback(errback)
        found = found if mark in found else (*found, mark)
    return inp if found is inp.errbacks else replace(inp, errbacks=found)


def _callbacks(draft: Draft, links: Iterable[Signature], out: Input, around: Input, path: str) -> Input:
    """Compile what was linked: it gets the value, and the whole ends when it has ended too."""
    for number, link in enumerate(links):
        before = replace(out, errbacks=around.errbacks, lane=around.lane)
        after = _compile(draft, link, before, f"{path}.link[{number}]")
        if after.value is not None and has_leaves(after.value):
            draft.rest.append(after.value)
    return out


def _unwrapped(canvas: Any, out: Input) -> Input:
    """As Celery does, take a group of one chain that ends in a group for that group."""
    if isinstance(canvas, group) and isinstance(out.value, list) and len(out.value) == 1:
        inner = out.value[0]
        return replace(out, value=inner) if isinstance(inner, list) else out
    return out


def _nothing(draft: Draft, inp: Input) -> Input:
    if inp.value is None:
        raise UnsupportedCanvas("expected a canvas with at least one task, found none; give it a task")
    key = draft.next_key()
    draft.add(PlannedStep(key, NOTHING, after=inp.after, phase=draft.phase))
    return Input(after=key, value=key)


_COMPILERS = {
    "chain": _chain,
    "group": _group,
    "chord": _chord,
    "celery.chunks": _chunks,
    RACE: _race,
}
