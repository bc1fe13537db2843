"""``python -m coordinator.embedded.ready …``: Celery's command line, leaving a file once a worker consumes.

The file's name is in ``COORDINATOR_READY_FILE``. A log line would say the same, but in words
that a logging configuration may change.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from celery.__main__ import main
from celery.signals import worker_ready, worker_shutdown

from coordinator.embedded.worker import READY_VARIABLE


def tell(**_: Any) -> None:
    """Leave the file."""
    Path(os.environ[READY_VARIABLE]).touch()


def forget(**_: Any) -> None:
    """Take it away again."""
    Path(os.environ[READY_VARIABLE]).unlink(missing_ok=True)


if __name__ == "__main__":
    worker_ready.connect(tell)
    worker_shutdown.connect(forget)
    sys.exit(main())
