"""The canvases that are run natively and through ``launch``: the guide's, and nested ones.

``differs`` declares where a job gives something else than Celery 5.7, and why; the same
reasons stand in docs/reference/canvas.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from celery import chain, chord, chunks, group, signature, xmap, xstarmap

from tests.integration.conformance.tasks import (
    add,
    delivery,
    double,
    ident,
    mul,
    numbers,
    seven,
    show,
    tsum,
)  # fmt: skip


def s(*args: Any, **kwargs: Any) -> Any:
    """Not ``show.s`` itself: that binds to the application that is current when this is imported."""
    return show.s(*args, **kwargs)


def si(*args: Any) -> Any:
    return show.si(*args)


ORDER = "Celery turns the order of a group round that stands in a header or ends a chain within a group"
HANGS = "Celery never ends: a chain (or chord) in a header that ends in a group with a chord in it"
THIRD = "Celery hands the third of three groups the first value of the second only"
NO_CHUNKS = "Celery runs chunks() as a task that sends its parts and hands on where they will be found"


@dataclass(frozen=True)
class Shape:
    name: str
    build: Callable[[], Any]
    part: str = "nested"  # of Celery's canvas guide, or nested
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    differs: str = ""  # why the value of the job is not Celery's
    value: Any = None  # with ``differs``: what the job gives


def as_dict(canvas: Any) -> Any:
    """Return a canvas as it comes out of a JSON document."""
    return json.loads(json.dumps(canvas))


def linked(canvas: Any, link: Any) -> Any:
    canvas.link(link)
    return canvas


GUIDE = [
    ("signatures", "signature by name", lambda: signature("tests.integration.conformance.tasks.add", (2, 2))),
    ("signatures", "task.signature", lambda: add.signature((2, 2), priority=4)),
    ("signatures", "task.s with keywords", lambda: add.s(2, 2, z=3)),
    ("signatures", "signature.replace", lambda: add.s(2).replace(args=(4, 5))),
    ("signatures", "dict form", lambda: as_dict(add.s(2, 2))),
    ("signatures", "set options", lambda: delivery.s().set(priority=3, time_limit=30, soft_time_limit=20)),
    ("signatures", "headers", lambda: delivery.s().set(headers={"colour": "red"})),
    ("signatures", "expires", lambda: delivery.s().set(expires=300)),
    ("signatures", "retries", lambda: delivery.s().set(retries=2)),
    ("signatures", "queue", lambda: delivery.s().set(queue=side[0])),
    ("signatures", "stamped", lambda: _stamped(add.s(1, 2))),
    ("immutability", "si", lambda: chain(add.s(2, 2), add.si(4, 4))),
    ("immutability", "set immutable", lambda: chain(add.s(2, 2), add.s(4, 4).set(immutable=True))),
    ("immutability", "immutable chord", lambda: chain(s(1), chord([s(2), s(3)], s(4), immutable=True))),
    ("immutability", "immutable group", lambda: chain(s(1), group(s(2), s(3)).set(immutable=True))),
    ("callbacks", "link", lambda: linked(add.s(2, 2), add.s(8))),
    ("callbacks", "link to a chain", lambda: linked(chain(add.s(2, 2), double.s()), ident.s())),
    ("callbacks", "link in a chain", lambda: chain(linked(add.s(2, 2), ident.s()), double.s())),
    ("callbacks", "link in a header", lambda: chord([linked(add.s(2, 2), ident.s()), add.s(1, 1)], tsum.s())),
    ("callbacks", "link to a chord", lambda: linked(chord([add.s(2, 2)], tsum.s()), ident.s())),
    ("callbacks", "link of a chord", lambda: linked(add.s(2, 2), chord([double.s(), double.s()], tsum.s()))),
    ("callbacks", "on_error that is not needed", lambda: add.s(2, 2).on_error(ident.s())),
    ("chains", "chain", lambda: chain(add.s(2, 2), add.s(4), add.s(8))),
    ("chains", "pipes", lambda: add.s(2, 2) | add.s(4) | add.s(8)),
    ("chains", "generator", lambda: chain(add.si(i, i) for i in range(5))),
    ("chains", "of one", lambda: chain(add.s(2, 2))),
    ("chains", "mixed", lambda: chain(add.s(2, 2), mul.s(3), double.s())),
    ("groups", "group", lambda: group(add.s(2, 2), add.s(4, 4))),
    ("groups", "generator", lambda: group(add.s(i, i) for i in range(10))),
    ("groups", "of one", lambda: group(add.s(2, 2))),
    ("groups", "in a chain", lambda: chain(add.s(4, 4), group(add.si(4, 4), add.s(1), add.s(2)))),
    ("groups", "unrolled", lambda: chain(add.s(2, 2), group(add.s(3)), add.s(4))),
    ("groups", "callbacks", lambda: linked_group()),
    ("groups", "empty", lambda: group()),
    ("groups", "starts a chain", lambda: chain(group(s(1), s(2)), s(3))),
    ("chords", "chord", lambda: chord((add.s(i, i) for i in range(10)), tsum.s())),
    ("chords", "group | task", lambda: group(add.s(i, i) for i in range(10)) | tsum.s()),
    ("chords", "of one", lambda: chord([add.s(2, 2)], tsum.s())),
    ("chords", "immutable body", lambda: chord([add.s(i, i) for i in range(3)], seven.si())),
    ("chords", "empty header", lambda: chord([], tsum.s())),
    ("chords", "in the middle", lambda: chain(add.s(4, 16), group(add.s(1), mul.s(2)), tsum.s(), double.s())),
    ("map & starmap", "map", lambda: tsum.map([[1, 2], [3]])),
    ("map & starmap", "starmap", lambda: add.starmap(zip(range(5), range(5), strict=True))),
    ("map & starmap", "xmap", lambda: xmap(double.s(), [1, 2, 3])),
    ("map & starmap", "xstarmap", lambda: xstarmap(add.s(), [(1, 2), (3, 4)])),
    ("map & starmap", "map | task", lambda: double.map([1, 2, 3]) | tsum.s()),
    ("chunks", "chunks", lambda: add.chunks(zip(range(10), range(10), strict=True), 4)),
    ("chunks", "chunks by name", lambda: chunks(add.s(), [(1, 2), (3, 4), (5, 6)], 2)),
    ("chunks", "chunks as a group", lambda: add.chunks([(i, i) for i in range(7)], 3).group()),
    ("chunks", "skew", lambda: _skewed()),
]

NESTED = {
    "chain in chain": lambda: chain(chain(s(1), s(2)), chain(s(3), s(4))),
    "chord body is a chain": lambda: chord([s(1), s(2)], chain(s(3), s(4))),
    "chord body is a group": lambda: chord([s(1), s(2)], group(s(3), s(4))),
    "chord body is a chord": lambda: chord([s(1), s(2)], chord([s(3), s(4)], s(5))),
    "chord in a header": lambda: chord([chord([s(1), s(2)], s(3)), s(4)], s()),
    "chord with a group as body in a header": lambda: chord(
        [chord([s(1), s(2)], group(s(3), s(5))), s(4)], s()
    ),
    "chords in a header, thrice": lambda: chord([chord([chord([s(1), s(2)], s(3)), s(4)], s(5)), s(6)], s(7)),
    "chain in a header": lambda: chord([chain(s(1), s(2)), chain(s(3), s(4), s(5))], s(6)),
    "chain that ends in a group in a header": lambda: chord([chain(s(1), group(s(2), s(3))), s(4)], s()),
    "header of one chain that ends in a group": lambda: chord([chain(s(1), group(s(2), s(3)))], s(4)),
    "chain that ends in a group in a group": lambda: group(chain(s(1), group(s(2), s(3))), s(4)),
    "group of one chain that ends in a group": lambda: group(chain(s(1), group(s(2), s(3)))),
    "group, group": lambda: chain(group(s(1), s(2)), group(s(3), s(4))),
    "group, group, task": lambda: chain(group(s(1), s(2)), group(s(3), s(4)), s(5)),
    "group, chord, group, task": lambda: chain(
        group(s(1), s(2)), chord([s(3), s(4)], s(5)), group(s(6), s(7)), s(8)
    ),
    "chord, chord": lambda: chain(chord([s(1), s(2)], s(3)), chord([s(4), s(5)], s(6))),
    "chord, chord, chord": lambda: chain(
        chord([s(1)], s(2)), chord([s(3), s(4)], s(5)), chord([s(6), s(7)], s(8))
    ),
    "task, chord, task": lambda: chain(s(0), chord([s(1), s(2)], s(3)), s(4)),
    "task, chord with arguments": lambda: chain(s(0), chord([s(1), s(2)], s(3), args=(7,)), s(4)),
    "task, chord in a header, task": lambda: chain(
        s(0), chord([s(1), chord([s(2), s(3)], s(4))], s(5)), s(6)
    ),
    "immutable in header and body": lambda: chain(s(1), chord([si(2), s(3)], si(4)), s(5)),
    "immutable in a group at the end": lambda: chain(s(1), group(si(2), s(3), chain(si(4), s(5)))),
    "group in group": lambda: group(s(1), group(s(2), s(3)), s(4)),
    "groups in group, thrice": lambda: group(group(group(s(1), s(2)), s(3)), s(4)),
    "group of one in a header": lambda: chord([group(s(1)), s(2)], s(3)),
    "group of chords": lambda: group(chord([s(1), s(2)], s(3)), chord([s(4)], s(5))),
    "group of chains with chords": lambda: group(
        chain(s(1), chord([s(2), s(3)], s(4)), s(5)), chain(s(6), group(s(7), s(8)), s(9))
    ),
    "chain of a group of chains": lambda: chain(s(1), group(chain(s(2), s(3)), chain(s(4), s(5))), s(6)),
    "chain of a group of chords": lambda: chain(s(1), group(chord([s(2), s(3)], s(4)), s(5)), s(6)),
    "chord with a chain of groups as body": lambda: chord(
        [s(1)], chain(group(s(2), s(3)), group(s(4), s(5)))
    ),
    "empty group in a chain": lambda: chain(s(0), group(), s(1)),
    "empty group starts a chain": lambda: chain(group(), s(1)),
    "empty group ends a chain": lambda: chain(s(1), group()),
    "empty group in a group": lambda: group(s(1), group()),
    "empty group in a header": lambda: chord([s(1), group()], s(3)),
    "header of an empty group": lambda: chord([group()], s(3)),
    "empty header in a chain": lambda: chain(s(0), chord([], s(1)), s(2)),
    "empty chain in a group": lambda: group(s(1), chain()),
    "map in a header": lambda: chord([double.map([1, 2, 3]), double.map([4])], s()),
    "map in a chain": lambda: chain(s(1), double.map([1, 2]), tsum.s()),
    "starmap at both ends": lambda: chain(add.starmap([(1, 2)]), s(1), add.starmap([(3, 4)])),
    "chunks as a group in a chain": lambda: chain(s(1), add.chunks([(1, 2), (3, 4)], 1).group(), s(2)),
    "chunks as a group in a header": lambda: chord(add.chunks([(1, 2), (3, 4)], 1).group(), s(3)),
    "keywords everywhere": lambda: chain(s(1, k=3), group(s(j=1), s(l=[2])), s(m={"n": None})),
    "dict form of a nested canvas": lambda: as_dict(chain(s(1), group(s(2), chain(s(3), s(4))), s(5))),
    "dict form of a chord": lambda: as_dict(chain(s(1), chord([s(2), chord([s(3)], s(4))], s(5)))),
    "list that a step returned": lambda: chain(numbers.s(4), group(tsum.s(), s(1)), s(2)),
    "same signature twice": lambda: (lambda one: chain(one, group(one, one), one))(s(1)),
    "wide": lambda: chord([s(i) for i in range(60)], s()),
    "long": lambda: chain(*[s(i) for i in range(30)]),
    "deep": lambda: _deep(6),
    "tail of groups in a body": lambda: chord(
        [chord([chain(s(1), group(s(2), s(3)), s(4)), s(5)], s(6)), s(7)],
        chain(s(10), group(s(11), chain(s(12), chord([s(13), s(14)], group(s(15), s(16)))))),
    ),
    # -- options, and on which steps they hold
    "options of a group": lambda: group(delivery.s(), delivery.s().set(priority=2)).set(priority=7),
    "options of a chain": lambda: chain(delivery.s(), ident.s()).set(priority=7),
    "options of a chain, second task": lambda: chain(ident.s(1), delivery.s()).set(priority=7),
    "options of a chain that starts with a group": lambda: chain(
        group(delivery.s(), delivery.s()), ident.s()
    ).set(priority=6),
    "options of a group with a chain": lambda: group(
        chain(delivery.s(), ident.s()), chain(ident.s(1), delivery.s())
    ).set(priority=7),
    "options of a chord": lambda: chord([delivery.s(), delivery.s()], ident.s()).set(priority=5),
    "options of a chord, body": lambda: chord([s(1), s(2)], delivery.s()).set(priority=5),
    "options of a chord, chain as body": lambda: chord([s(1)], chain(ident.s(), delivery.s())).set(
        priority=5
    ),
    "queue of a body": lambda: chord([s(1), delivery.s().set(queue=side[0])], ident.s().set(queue=side[0])),
    "countdown in a chain": lambda: chain(s(1), s(2).set(countdown=0.3), s(3)),
    "countdown of a chord": lambda: chord([s(1), s(2)], s(3)).set(countdown=0.3),
}

DIFFERENT = [
    Shape(
        "group in a header",
        lambda: chord([s(1), group(s(2), s(3)), s(4)], ident.s()),
        differs=ORDER,
        value=[f"[[{n}], {{}}]" for n in (1, 2, 3, 4)],
    ),
    Shape(
        "group in the group that ends a chain",
        lambda: chain(seven.s(), group(ident.s(), group(add.s(1), add.s(2)))),
        differs=ORDER,
        value=[7, 8, 9],
    ),
    Shape(
        "chain in a header that ends in a group with a chord",
        lambda: chord(
            [chain(seven.s(), group(ident.s(), chord([ident.s(), ident.s()], tsum.s())))], ident.s()
        ),
        differs=HANGS,
        value=[[7, 14]],
    ),
    Shape(
        "three groups end a chain",
        lambda: chain(group(seven.s(), seven.s()), group(ident.s(), tsum.s()), group(ident.s(), ident.s())),
        differs=THIRD,
        value=[[[7, 7], 14], [[7, 7], 14]],
    ),
    Shape(
        "chunks in a chain",
        lambda: chain(seven.s(), add.chunks([(1, 2), (3, 4)], 1), ident.s()),
        differs=NO_CHUNKS,
        value=[[3], [7]],
    ),
    Shape(
        "chunks in a group",
        lambda: group(seven.s(), add.chunks([(1, 2), (3, 4)], 1)),
        differs=NO_CHUNKS,
        value=[7, [[3], [7]]],
    ),
]

PARTIAL = [
    Shape("chain with arguments", lambda: chain(s(1), s(2)), "partials", args=(9,)),
    Shape("chain with keywords", lambda: chain(s(1), s(2)), "partials", kwargs={"k": 1}),
    Shape("group with arguments", lambda: group(s(1), si(2), chain(s(3), s(4))), "partials", args=(9, 8)),
    Shape("group with keywords", lambda: group(s(1, k=0), s(2)), "partials", kwargs={"k": 1}),
    Shape("chord with arguments", lambda: chord([s(1), si(2)], s(3)), "partials", args=(9,)),
    Shape("chord with keywords", lambda: chord([s(1), s(2)], s(3)), "partials", kwargs={"k": 1}),
    Shape("task with both", lambda: s(1, k=2), "partials", args=(0,), kwargs={"k": 1}),
    Shape("immutable task", lambda: si(1), "partials", args=(0,)),
    Shape("chain that starts with a group", lambda: chain(group(s(1), s(2)), s(3)), "partials", args=(0,)),
    Shape("chain that starts with a chord", lambda: chain(chord([s(1)], s(2)), s(3)), "partials", args=(0,)),
]

SHAPES = [
    *(Shape(name, build, part) for part, name, build in GUIDE),
    *PARTIAL,
    *(Shape(name, build) for name, build in NESTED.items()),
    *DIFFERENT,
]


#: The queue beside the default one of the side that a canvas is built for: they share a broker.
side = ["side"]


def linked_group() -> Any:
    canvas = group(add.s(2, 2), add.s(4, 4))
    canvas.link(seven.s())
    return canvas


def _stamped(canvas: Any) -> Any:
    canvas.stamp(monitoring_id="m-1")
    return canvas


def _skewed() -> Any:
    canvas = add.chunks([(1, 2), (3, 4), (5, 6)], 1).group()
    canvas.skew(start=0.1, stop=0.3, step=0.1)
    return canvas


def _deep(depth: int) -> Any:
    if not depth:
        return s(0)
    return chain(s(depth), chord([_deep(depth - 1), s(depth)], s()))
