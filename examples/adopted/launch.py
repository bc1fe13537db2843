"""Run the canvas as before, and as a durable job."""

from __future__ import annotations

import sys

from coordinator import Coordinator
from examples.adopted.shop import order_canvas


def main(order: list[int]) -> None:
    print("as before: ", order_canvas(order).apply_async().get(timeout=30))
    coordinator = Coordinator.from_settings()
    job = coordinator.launch(order_canvas(order))
    print("as a job:  ", coordinator.wait(job, timeout_s=30), job)


if __name__ == "__main__":
    main([int(article) for article in sys.argv[1:]])
