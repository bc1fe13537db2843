"""The plan of a step whose items run in batches. Pure.

Owns what a *stream* is: the step that expanded into it (its owner), the task of
one item, limits, and how its steps are named. Invariant: what a stream's step
says is a function of its owner and its number alone; which items it has is
allotted in Redis (``state/lua/stream.lua``), so a stream of a million items is
as small as one of ten.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kombu.utils.json import dumps, loads

from coordinator.plan import PHASE_WORK, Follow, Plan, PlannedStep

BATCH = "coordinator.batch"
#: Items of a list, or lines of a file, that are stored or found as one.
PAGE_ITEMS = 1000
#: Items in a batch at most, where their number goes by measure; neighbours that one merge combines.
MOST_IN_BATCH = 10_000
FAN_IN = 100
#: Batches in flight, where none is given.
WINDOW = 100
#: … and at most: one script cuts them all, and Redis serves nobody else meanwhile.
MOST_IN_FLIGHT = 10_000
#: Items of a stream at most: scripts write whole numbers of 14 digits exactly, and no more.
MOST_ITEMS = 10**12
#: Without ``combine`` the join is handed all values: more don't fit into one step's memory and Redis answer.
MOST_VALUES = 100_000


@dataclass(frozen=True)
class Stream(Plan):
    """The steps of one ``each`` in batches: numbered as they are cut, known by number only."""

    each: Mapping[str, Any] = field(default_factory=dict)  # step, combine, source … as JSON
    follow: Follow = ()  # of the owner
    phase: str = PHASE_WORK
    on_error: tuple[str, ...] = ()  # the owner's error callbacks

    @classmethod
    def under(cls, owner: PlannedStep, each: Mapping[str, Any]) -> Stream:
        """Return the stream that takes the place of a step."""
        return cls(
            (),
            {},
            [],
            f"{owner.key}/",
            each=each,
            follow=owner.follow,
            phase=owner.phase,
            on_error=owner.errbacks,
        )

    @property
    def owner(self) -> str:
        return self.prefix[:-1]

    @property
    def size(self) -> int:
        return 0  # its items are counted, as they become known

    @property
    def by_key(self) -> dict[str, PlannedStep]:
        return _Numbered(self)

    def sent_by(self, trigger: str) -> list[PlannedStep]:
        step = self.by_key.get(trigger[1:]) if trigger.startswith("=") else None
        return [step] if step else []

    def step(self, key: str) -> PlannedStep:
        """Return a step by its key."""
        step = self.each["step"]
        return PlannedStep(
            key,
            BATCH,
            kwargs={"task": {"task": step["task"]}},
            follow=(("stream", self.owner), *self.follow),
            options=step.get("options") or {},
            phase=self.phase,
            errbacks=self.on_error,
        )

    def dumps(self) -> bytes:
        document = {
            "stream": self.each,
            "owner": self.owner,
            "follow": self.follow,
            "phase": self.phase,
            "errbacks": self.on_error,
        }
        return zlib.compress(dumps(document).encode(), 6)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Stream:
        owner = PlannedStep(
            document["owner"],
            "",
            follow=tuple(tuple(part) for part in document["follow"]),
            phase=document["phase"],
            errbacks=tuple(document["errbacks"]),
        )
        return cls.under(owner, document["stream"])


def count_of(items: range) -> int:
    """Return how many items a range has, also where they are too many for ``len``."""
    return max(0, -((items.start - items.stop) // items.step))


def plan_of(blob: bytes) -> Plan:
    """Read what ``dumps`` of a plan or of a stream wrote."""
    document = loads(zlib.decompress(blob))
    return Stream.of(document) if "stream" in document else Plan.of(document)


class _Numbered(dict[str, PlannedStep]):
    """Every number is a step: which of them were cut, Redis knows."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream

    def __contains__(self, key: object) -> bool:
        prefix = self._stream.prefix
        return isinstance(key, str) and key.startswith(prefix) and key[len(prefix) :].isdigit()

    def __missing__(self, key: str) -> PlannedStep:
        if key not in self:
            raise KeyError(key)
        return self._stream.step(key)

    def get(self, key: str, default: Any = None) -> Any:
        return self._stream.step(key) if key in self else default
