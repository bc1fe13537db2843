"""Tasks whose end the test decides, attempt by attempt."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

from coordinator.app import app
from tests.waiting import wait_until


@app.task(bind=True)
def hold(self: Any, path: str, timeout_s: float = 90) -> int:
    """Run until there is a file with this attempt's number, then return the number."""
    wait_until(Path(f"{path}.{self.fence}").exists, timeout_s=timeout_s, what="the file of this attempt")
    return int(self.fence)


@app.task(bind=True)
def die(self: Any, path: str, number: int) -> None:
    """End this process by a signal, as a fault in an extension module does, or the kernel's OOM killer."""
    with Path(path).open("a") as file:
        file.write(f"{self.fence}\n")
    os.kill(os.getpid(), number)


@app.task
def hoard(limit_bytes: int) -> None:
    """Use up all the memory that this process may have (RLIMIT_AS, as ``ulimit -v`` sets it)."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, hard))
    kept = []
    while True:
        kept.append(bytearray(1 << 16))


@app.task(bind=True, autoretry_for=(ValueError,), retry_backoff=2, retry_jitter=True, max_retries=4)
def restless(self: Any, failures: int) -> int:
    """Fail the first times, with Celery's own back-off and jitter."""
    if self.request.retries < failures:
        raise ValueError("not yet")
    return int(self.fence)
