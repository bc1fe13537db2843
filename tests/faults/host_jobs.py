"""Tasks whose end the test decides, attempt by attempt."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from coordinator.app import app


@app.task(bind=True)
def hold(self: Any, path: str, timeout_s: float = 90) -> int:
    """Run until there is a file with this attempt's number, then return the number."""
    ends = time.monotonic() + timeout_s
    while not Path(f"{path}.{self.fence}").exists():
        if time.monotonic() > ends:
            raise TimeoutError(path)
        time.sleep(0.02)
    return int(self.fence)
