"""Starts parts together and ends them together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar


class Part(Protocol):
    """A server or a worker."""

    def launch(self) -> None: ...
    def wait_ready(self) -> None: ...
    def stop(self) -> Any: ...


P = TypeVar("P", bound=Part)


@contextmanager
def running(parts: Sequence[P]) -> Iterator[Sequence[P]]:
    """Launch all, wait for all, and end them with the block."""
    try:
        for part in parts:
            part.launch()
        for part in parts:
            part.wait_ready()
        yield parts
    finally:
        for part in parts:
            part.stop()
