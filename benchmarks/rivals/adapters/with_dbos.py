"""DBOS on PostgreSQL: a chain is a workflow of steps in the process that calls it; a fan-out is a
workflow that puts others into a queue and waits for them.

Run as a program it is a worker. Queues and results are looked at every 0.1 s (by default every
second; every 10 ms was slower), LISTEN/NOTIFY is on; the submitter takes nothing from the queue.
"""

from __future__ import annotations

import os
import threading

from dbos import DBOS

POLL_S = 0.1
QUEUE = "items"


@DBOS.step()
def hop(n: int) -> int:
    return n + 1


@DBOS.workflow()
def hops(length: int) -> int:
    value = 0
    for _ in range(length):
        value = hop(value)
    return value


@DBOS.workflow()
def noop(n: int) -> int:
    return n


@DBOS.workflow()
def fan(size: int) -> int:
    handles = [DBOS.enqueue_workflow(QUEUE, noop, n) for n in range(size)]
    return len([handle.get_result(polling_interval_sec=POLL_S) for handle in handles])


def launch(queues: list[str]) -> None:
    DBOS(
        config={
            "name": "bench",
            "system_database_url": os.environ["POSTGRES_URL"],
            "application_version": "1",
            "executor_id": str(os.getpid()),
            "notification_listener_polling_interval_sec": POLL_S,
            "run_admin_server": False,
            "console_log_level": "WARNING",
        }
    )
    DBOS.listen_queues(queues)
    DBOS.launch()
    DBOS.register_queue(QUEUE, polling_interval_sec=POLL_S)


class Side:
    def __init__(self) -> None:
        launch([])

    def chain(self, length: int) -> None:
        assert hops(length) == length

    def fan(self, size: int) -> None:
        assert fan(size) == size

    def submit(self) -> None:
        DBOS.enqueue_workflow(QUEUE, noop, 1)


if __name__ == "__main__":
    launch([QUEUE])
    print("ready.", flush=True)
    threading.Event().wait()
