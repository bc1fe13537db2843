"""The course of one interleaving: its dice, its history, and what else happens meanwhile.

Owns the randomness. Invariant: one seed, one course, event by event: nothing in it goes by a clock,
by a random token, or by the order of a set.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

#: How often something else happens before a process' write, before one that goes by what it has read of the
#: whole job, and before each of its reads; and how deep that goes.
MEANWHILE, MEANWHILE_OFTEN, MEANWHILE_READ = 0.04, 0.15, 0.01
DEEPEST = 2


class Course:
    """Decides what happens, and remembers it."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.history: list[str] = []
        self.is_calm = False  # nothing goes wrong any more
        self._happen: Callable[[], None] = lambda: None
        self._depth = 0
        self._serial = itertools.count()

    def say(self, who: str, what: str, *details: Any) -> None:
        """Add an event to the history."""
        words = [who, what, *(str(detail) for detail in details)]
        self.history.append("  " * self._depth + " ".join(words))

    def chance(self, share: float) -> bool:
        """Whether something happens that goes wrong in so many of 1 cases; never in the calm."""
        return not self.is_calm and self.dice.random() < share

    def token(self, owner: str) -> str:
        """Return a token that no other delivery has."""
        return f"{owner}#{next(self._serial)}"

    def let(self, happen: Callable[[], None]) -> None:
        """Say what may happen meanwhile."""
        self._happen = happen

    def meanwhile(self, share: float = MEANWHILE) -> None:
        """Let something else happen here, perhaps: called wherever a process has read and will write."""
        if self._depth < DEEPEST and self.chance(share):
            self._depth += 1
            try:
                self._happen()
            finally:
                self._depth -= 1
