"""Submit one canvas and end: the victim of the tests that kill a submitter.

Usage: python -m tests.faults.submit_one KEY FILE, with crash points installed by the environment.
"""

from __future__ import annotations

import sys

from celery import chain, group

from coordinator import Coordinator
from tests.flows import mark, total

if __name__ == "__main__":
    key, path = sys.argv[1:]
    coordinator = Coordinator.from_settings()
    canvas = chain(group(mark.si(n, path) for n in range(5)), total.s())
    coordinator.launch(canvas, key=key)
