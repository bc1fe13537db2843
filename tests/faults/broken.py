"""Workers that are broken on purpose: what the crash-point suite must find, or it finds nothing.

A worker imports this module through COORDINATOR_JOBS; which fault it gets stands in ``BROKEN_WORKER``
of its environment, and nothing happens where that is not set. Each fault does no harm to a job that
nobody kills. The reconciler leaves the outbox alone beside them: what a kill leaves there is for the
redelivery.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

FAULT_VARIABLE = "BROKEN_WORKER"
#: How scripts ask whether a step is recorded, and how those that ask begin.
LOOK = "redis.call('HEXISTS', KEYS[2], step) == 1"
BEGIN, FINISH = "-- Take the right to run a step", "-- Record a step's result"


def never_send_what_was_left() -> None:
    """A redelivered step does not send what a killed attempt had recorded and not sent."""
    from coordinator.attempt import Attempt

    not_run = Attempt._not_run

    def forgetful(self: Attempt, answer: list[Any]) -> Any:
        return not_run(self, answer[:1] if answer[0] == "recorded" else answer)

    Attempt._not_run = forgetful


def record_again() -> None:
    """A redelivered step is run and recorded once more: no script looks at the journal."""
    _blind(BEGIN, FINISH)


def run_what_is_recorded() -> None:
    """A redelivered step is run once more; only its second result is refused."""
    _blind(BEGIN)


FAULTS: dict[str, Callable[[], None]] = {
    fault.__name__: fault for fault in (never_send_what_was_left, record_again, run_what_is_recorded)
}


def _blind(*heads: str) -> None:
    from coordinator.state import connection

    whole = connection._whole

    def blinded(text: str, preludes: dict[str, str]) -> str:
        if text.startswith(heads):
            if LOOK not in text:
                raise RuntimeError(
                    f"expected {LOOK!r} in a script, got {text[:60]!r}…: break it where it looks now"
                )
            text = text.replace(LOOK, "false", 1)
        return whole(text, preludes)

    connection._whole = blinded


def _break(fault: str) -> None:
    from coordinator.state.steps import Steps

    overdue = Steps.overdue
    Steps.overdue = lambda *args: [found._replace(outbox=[]) for found in overdue(*args)]
    FAULTS[fault]()


if os.environ.get(FAULT_VARIABLE):
    _break(os.environ[FAULT_VARIABLE])
