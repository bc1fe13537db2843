"""Waiting in tests: for a condition, with a deadline; and for a file, which is written whole."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# A loaded two-core CI machine is several times slower than a laptop; a deadline is only reached on failure.
PATIENCE = float(os.environ.get("TEST_PATIENCE", "1"))


def wait_until(
    condition: Callable[[], T], *, timeout_s: float = 20, what: str = "the condition", pause_s: float = 0.02
) -> T:
    """Return the first true value of ``condition()``.

    Args:
        condition: called again and again, ``pause_s`` apart.
        timeout_s: seconds, times ``TEST_PATIENCE`` of the environment.
        what: what is waited for, for the message.

    Raises:
        AssertionError: it never held; the message has its last value.
    """
    deadline = time.monotonic() + timeout_s * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"expected {what} within {timeout_s:g} s, last saw {value!r}")
        time.sleep(pause_s)


def write_whole(path: Path, text: str) -> None:
    """Write a file that somebody waits for: it is there with all it says, or not at all."""
    written = path.with_name(f"{path.name}.new")
    written.write_text(text)
    written.rename(path)
