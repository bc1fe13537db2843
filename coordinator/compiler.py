"""Compile a Celery canvas to a plan: chain, group, chord, nested in each other.

Owns the walk over Celery's signatures. Invariant: a canvas either becomes a
plan that means the same, or is refused with the path of the signature that
can't be kept; nothing is dropped in silence. Pure: no I/O.
Where it differs from Celery: a chord's body always gets a list, also from a
header of one (Celery passes the bare value there).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from celery.canvas import Signature, chunks, maybe_signature
from kombu.utils.json import dumps

from coordinator.errors import UnsupportedCanvas
from coordinator.plan import PHASE_WORK, Follow, Plan, PlannedStep, Shape, leaves

KEPT_OPTIONS = frozenset(
    {
        "queue",
        "routing_key",
        "exchange",
        "priority",
        "time_limit",
        "soft_time_limit",
        "expires",
        "countdown",
        "shadow",
    }
)
#: Identity and bookkeeping that Celery leaves on a signature: the plan gives its own.
IGNORED_OPTIONS = frozenset(
    {
        "task_id",
        "reply_to",
        "root_id",
        "parent_id",
        "group_id",
        "group_index",
        "retries",
        "ignore_result",
        "add_to_parent",
        "serializer",
        "delivery_mode",
        "producer",
        "connection",
    }
)


@dataclass(frozen=True)
class _Input:
    """What comes into a signature: a trigger to wait on and the shape of a value, if any."""

    after: str | None = None
    value: Shape | None = None  # None: no value comes in
    static: tuple[Any, ...] = ()  # arguments given to the canvas around it
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class _Draft:
    """The plan while it grows."""

    prefix: str
    phase: str
    steps: list[PlannedStep] = field(default_factory=list)
    joins: dict[str, Shape] = field(default_factory=dict)

    def trigger(self, inp: _Input) -> str | None:
        """Return what a consumer of ``inp`` waits on, making a join where it is a list."""
        if inp.value is None or isinstance(inp.value, str):
            return inp.value if inp.value is not None else inp.after
        if not any(True for _ in leaves(inp.value)):
            return inp.after
        for key, shape in self.joins.items():
            if shape is inp.value:
                return key
        key = f"{self.prefix}j{len(self.joins)}"
        self.joins[key] = inp.value
        return key


def compile_canvas(
    canvas: Any, *, prefix: str = "", end: Follow = (("end",),), phase: str = PHASE_WORK
) -> Plan:
    """Compile a canvas.

    Args:
        canvas: a Celery signature of any type, or its dict form.
        prefix: what every key starts with: ``"5/"`` for a canvas that takes the place of step 5.
        end: what follows when the value of the whole is recorded.

    Raises:
        UnsupportedCanvas: naming the path of the signature that can't be kept.
    """
    return compile_phases([(canvas, phase)], prefix=prefix, end=end)


def compile_phases(phases: list[tuple[Any, str]], *, prefix: str = "", end: Follow = (("end",),)) -> Plan:
    """Compile canvases that run one after the other, each in its phase and given no value."""
    draft = _Draft(prefix, PHASE_WORK)
    inp = _Input()
    for canvas, phase in phases:
        draft.phase = phase
        inp = replace(
            _compile(draft, _signature(canvas, "canvas"), _Input(after=draft.trigger(inp)), "canvas")
        )
    shape: Shape = [] if inp.value is None else inp.value
    last = draft.trigger(inp)
    if not draft.steps:
        raise UnsupportedCanvas("expected a canvas with at least one task, found none; give it a task")
    return Plan(tuple(_followed(draft, last, end)), draft.joins, shape, prefix)


def _compile(draft: _Draft, sig: Signature, inp: _Input, path: str, index: int | None = None) -> _Input:
    compile_one = _COMPILERS.get(sig.get("subtask_type") or sig.task, _task)
    return compile_one(draft, sig, inp, path, index)


def _chain(draft: _Draft, sig: Signature, inp: _Input, path: str, index: int | None) -> _Input:
    _options(sig, path)
    current = replace(
        inp, static=inp.static + tuple(sig.args or ()), options={**inp.options, **_options(sig, path)}
    )
    for number, task in enumerate(sig.tasks):
        current = _compile(draft, _signature(task, path), current, f"{path}.chain[{number}]", index)
    return _Input(after=current.after, value=current.value)


def _group(draft: _Draft, sig: Signature, inp: _Input, path: str, _index: int | None) -> _Input:
    inner = replace(
        inp, static=inp.static + tuple(sig.args or ()), options={**inp.options, **_options(sig, path)}
    )
    parts: list[Shape] = []
    for number, task in enumerate(sig.tasks):
        out = _compile(draft, _signature(task, path), inner, f"{path}.group[{number}]", number)
        parts.append([] if out.value is None else out.value)
    return _Input(after=draft.trigger(inp), value=parts)


def _chord(draft: _Draft, sig: Signature, inp: _Input, path: str, index: int | None) -> _Input:
    options = _options(sig, path)
    inner = replace(inp, static=inp.static + tuple(sig.args or ()), options={**inp.options, **options})
    parts: list[Shape] = []
    for number, task in enumerate(sig.tasks):
        out = _compile(draft, _signature(task, path), inner, f"{path}.header[{number}]", number)
        parts.append([] if out.value is None else out.value)
    body = sig.body
    if body is None:
        raise UnsupportedCanvas(f"{path}: expected a chord with a body, found none; use a group", path=path)
    header = _Input(after=draft.trigger(inp), value=parts, options={**inp.options, **options})
    return _compile(draft, _signature(body, path), header, f"{path}.body", index)


def _chunks(draft: _Draft, sig: Signature, inp: _Input, path: str, index: int | None) -> _Input:
    """Compile ``task.chunks(items, n)`` as what Celery makes of it: a group of starmaps."""
    return _group(draft, chunks(**sig.kwargs).group(), inp, path, index)


def _task(draft: _Draft, sig: Signature, inp: _Input, path: str, index: int | None) -> _Input:
    if sig.get("subtask_type"):
        raise UnsupportedCanvas(f"{path}: {sig['subtask_type']} can't be made durable yet", path=path)
    key = f"{draft.prefix}{len(draft.steps)}"
    takes, args = False, (*inp.static, *(sig.args or ()))
    if inp.value is not None and not sig.immutable:
        takes = any(True for _ in leaves(inp.value))
        args = args if takes else (inp.value, *args)
    step = PlannedStep(
        key=key,
        task=sig.task,
        args=tuple(sig.args or ()) if sig.immutable else args,
        kwargs=dict(sig.kwargs or {}),
        after=draft.trigger(inp),
        takes=takes,
        options={**inp.options, **_options(sig, path)},
        index=index,
        phase=draft.phase,
    )
    _refuse_unless_json(step, path)
    draft.steps.append(step)
    return _Input(after=key, value=key)


def _followed(draft: _Draft, last: str | None, end: Follow) -> list[PlannedStep]:
    """Write into every step what follows it."""
    waited_on = {step.after for step in draft.steps}
    joins_of = {key: join for join, shape in draft.joins.items() for key in leaves(shape)}
    sizes = {join: sum(1 for _ in leaves(shape)) for join, shape in draft.joins.items()}

    def after(trigger: str) -> Follow:
        follow: Follow = (("next", trigger),) if trigger in waited_on else ()
        return follow + end if trigger == last else follow

    def follow_of(step: PlannedStep) -> Follow:
        join = joins_of.get(step.key)
        if join is None:
            return after(step.key)
        return (("join", join, sizes[join]), *after(join))

    return [replace(step, follow=follow_of(step)) for step in draft.steps]


def _signature(canvas: Any, path: str) -> Signature:
    try:
        sig = maybe_signature(canvas)
    except (KeyError, TypeError, ValueError) as error:
        raise UnsupportedCanvas(f"{path}: expected a Celery signature, got {canvas!r}", path=path) from error
    if not isinstance(sig, Signature):
        raise UnsupportedCanvas(
            f"{path}: expected a Celery signature, got {type(canvas).__name__}", path=path
        )
    return sig


def _options(sig: Signature, path: str) -> dict[str, Any]:
    kept = {}
    for name, value in (sig.options or {}).items():
        if name in KEPT_OPTIONS:
            kept[name] = value
        elif name not in IGNORED_OPTIONS and value not in (None, [], {}):
            raise UnsupportedCanvas(
                f"{path}: a durable job can't keep the option {name!r} of {sig.task}; take it off",
                path=path,
            )
    return kept


def _refuse_unless_json(step: PlannedStep, path: str) -> None:
    try:
        dumps([step.args, step.kwargs, step.options])
    except (TypeError, ValueError) as error:
        raise UnsupportedCanvas(
            f"{path}: the arguments of {step.task} must be JSON values; {error}", path=path
        ) from error


_COMPILERS = {"chain": _chain, "group": _group, "chord": _chord, "celery.chunks": _chunks}
