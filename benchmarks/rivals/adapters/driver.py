"""Submits the work and takes the times, in the environment of the side that is measured.

Run as ``python driver.py ADAPTER``: for each JSON request on its standard input it answers
with one JSON line, ``{"s": [seconds, …]}``. Needs nothing but the standard library and the
adapter, so that it runs in every rival's own virtual environment, the same for all.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any


def timed(side: Any, do: str, arguments: list[int]) -> float:
    started = time.perf_counter()
    getattr(side, do)(*arguments)
    return round(time.perf_counter() - started, 6)


def answer(side: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked ``times`` times; what a side must do in between (``settle``) is not counted."""
    seconds = []
    for _ in range(request["times"]):
        seconds.append(timed(side, request["do"], request["with"]))
        if request["do"] != "submit":
            getattr(side, "settle", lambda: None)()
    return {"s": seconds}


def main() -> None:
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    side = importlib.import_module(sys.argv[1]).Side()
    print(json.dumps({"s": []}), file=answers)
    for line in sys.stdin:
        print(json.dumps(answer(side, json.loads(line))), file=answers)


if __name__ == "__main__":
    main()
