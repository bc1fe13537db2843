"""Where the items of a stream come from, and how a batch reads its own few.

Owns the sources: a list, a range, the lines of a file, and pages. Invariant: a
batch reads no more than the pages that its items lie in. A source is named in
the stream's plan as ``{"kind": …}``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coordinator.errors import BatutaError
from coordinator.state import StateManager
from coordinator.stream import PAGE_ITEMS, count_of

KINDS = ("range", "lines", "pages")


class Opened:
    """A source as its stream begins: how many items there are, and the pages to store."""

    def __init__(self, given: Any) -> None:
        """Read a source's beginning.

        Args:
            given: a list, or ``{"range": …}``, ``{"lines": …}`` or ``{"pages": …}``.

        Raises:
            BatutaError: it is none of them.
        """
        self.source: dict[str, Any] = {"kind": "list"}
        self.total: int | None = None  # None: not known yet
        self.pages: list[Any] = []
        if isinstance(given, list):
            self.total = len(given)
            self.pages = [given[start : start + PAGE_ITEMS] for start in range(0, len(given), PAGE_ITEMS)]
            return
        kind = next(iter(given)) if isinstance(given, dict) and len(given) == 1 else ""
        if kind not in KINDS:
            raise BatutaError(
                f"each: expected a list from the step before, got {type(given).__name__}; return a list there"
            )
        self.source = {"kind": kind, kind: given[kind]}
        if kind == "range":
            self.total = count_of(range(*given[kind]))
        elif kind == "lines":
            self.pages, self.total = _line_pages(given[kind])


def items_of(state: StateManager, job: str, key: str, source: dict[str, Any], share: list[Any]) -> list[Any]:
    """Return the items of a batch, from its share: batch, first item, count, page, first within the page."""
    _, _, first, count, page, within = share
    match source["kind"]:
        case "range":
            return list(range(*source["range"])[first : first + count])
        case "pages":
            items: list[Any] = state.pages(job, [f"{key}@{page}"])[0]
            return items[within : within + count]
    pages = range(first // PAGE_ITEMS, (first + count - 1) // PAGE_ITEMS + 1)
    skipped = first % PAGE_ITEMS
    names = [f"{key}@{source['list']}:{number}" for number in pages]
    if source["kind"] == "lines":
        start = state.pages(job, names[:1])[0]
        return _lines(source["lines"], start, skipped, count)
    found = [item for part in state.pages(job, names) for item in part]
    return found[skipped : skipped + count]


def _line_pages(path: str) -> tuple[list[int], int]:
    """Return where every 1,000th line of a file starts (bytes), and how many lines there are."""
    starts, at, number = [], 0, 0
    with _opened(path) as file:
        for line in file:
            if number % PAGE_ITEMS == 0:
                starts.append(at)
            at += len(line)
            number += 1
    return starts, number


def _lines(path: str, start: int, skipped: int, count: int) -> list[str]:
    with _opened(path) as file:
        file.seek(start)
        for _ in range(skipped):
            file.readline()
        return [file.readline().decode().rstrip("\r\n") for _ in range(count)]


def _opened(path: str) -> Any:
    if "://" not in path:
        return Path(path).open("rb")
    import fsspec

    return fsspec.open(path, "rb").open()
