"""Submit one canvas, and stop before one of its calls until the test says go.

Usage: python -m tests.faults.submit_held KEY FILE CALL FOLDER; the folder gets ``reached``, and
from the test ``go``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from celery import chain, group

from coordinator import Coordinator
from coordinator.dispatcher import TaskDispatcher
from coordinator.line import Line
from coordinator.state import StateManager
from tests.flows import mark, total
from tests.waiting import wait_until

CALLS: dict[str, tuple[type, str]] = {
    "connect": (TaskDispatcher, "connect"),
    "submit": (StateManager, "submit"),
    "publish": (Line, "publish"),
    "confirm": (Line, "confirm"),
}


def hold(owner: type, name: str, folder: Path) -> None:
    """Stop before the first call that has something to send."""
    original = getattr(owner, name)

    def held(self: Any, *args: Any, **kwargs: Any) -> Any:
        is_idle = name == "confirm" and not self._unconfirmed
        if not is_idle and not (folder / "reached").exists():
            (folder / "reached").touch()
            wait_until((folder / "go").exists, timeout_s=60, what="the word to go on")
        return original(self, *args, **kwargs)

    setattr(owner, name, held)


if __name__ == "__main__":
    key, path, call, folder = sys.argv[1:]
    hold(*CALLS[call], Path(folder))
    Coordinator.from_settings().launch(chain(group(mark.si(n, path) for n in range(5)), total.s()), key=key)
