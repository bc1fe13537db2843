"""What the HTTP interface needs to know, from the environment: all faults told together. Pure.

Invariant: nobody is let in by default. Without tokens the interface does not
start, unless it is opened on purpose, and then it answers this machine alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from coordinator.errors import SettingsError
from coordinator.settings import Variable, read_variables, words
from coordinator.web.tokens import Token, read_tokens

TOKENS, OPEN = "COORDINATOR_API_TOKENS", "COORDINATOR_API_OPEN"


@dataclass(frozen=True, slots=True)
class WebSettings:
    """Who may use the interface, and how much."""

    tokens: tuple[Token, ...] = ()  # COORDINATOR_API_TOKENS: name:scope+scope:sha256, by spaces or commas
    is_open: bool = False  # COORDINATOR_API_OPEN=1: without tokens, for this machine only
    body_limit_bytes: int = 1_048_576  # COORDINATOR_API_BODY_LIMIT_BYTES: the largest request
    rate_per_minute: int = 600  # COORDINATOR_API_RATE: requests of one token in a minute; 0 for no limit
    queues: tuple[str, ...] = ()  # COORDINATOR_API_QUEUES: beside the default queue, those one may ask for
    most_waiting: int = 4  # COORDINATOR_API_WAITING: event streams and waits at once, in each process

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> WebSettings:
        """Read the environment.

        Raises:
            SettingsError: naming every variable that can't be used, or that nobody could be let in.
        """
        env = os.environ if env is None else env
        values, faults = read_variables(env, _VARIABLES, are_secret=True)
        if not faults and not values.get("tokens") and not values.get("is_open"):
            faults.append(
                f"{TOKENS}: expected name:scopes:sha256 for each that may use the API, found none; "
                "make one with `manage.py api-token NAME`"
            )
        if faults:
            raise SettingsError("; ".join(faults))
        return cls(**values)  # type: ignore[arg-type]


def _switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"expected 1 or 0, got {text!r}")
    return text == "1"


def _number(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise ValueError(f"expected a whole number of at least {least}, got {text!r}")
        return int(text)

    return read


_VARIABLES: dict[str, Variable] = {
    "tokens": (TOKENS, read_tokens),
    "is_open": (OPEN, _switch),
    "body_limit_bytes": ("COORDINATOR_API_BODY_LIMIT_BYTES", _number(1024)),
    "rate_per_minute": ("COORDINATOR_API_RATE", _number(0)),
    "queues": ("COORDINATOR_API_QUEUES", words),
    "most_waiting": ("COORDINATOR_API_WAITING", _number(1)),
}
