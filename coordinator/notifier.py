"""``Notifier``: tells people and programs what they must know.

Owns the channels: the log, and the stream of alerts in Redis that others read.
Invariant: an alert that goes with a transition is written by that transition's
script, so it is said once and never lost; only what has no transition is
written here.
"""

from __future__ import annotations

import logging

from coordinator.state import StateManager
from coordinator.state.connection import escaped

logger = logging.getLogger("coordinator.alerts")


class Notifier:
    """Sends alerts to the log and to the stream of alerts."""

    def __init__(self, state: StateManager) -> None:
        self._state = state

    def send_alert(self, message: str, *, job: str = "", severity: str = "error") -> None:
        """Alert people and programs.

        Args:
            message: one sentence: what happened and to what.
            job: the job's id, where there is one.
            severity: info, warning or error.

        Raises:
            StateUnreachable: the alert is in the log but not in the stream.
        """
        self.log(message, job=job, severity=severity)
        self._state.note_alert(escaped(message), job=job, severity=severity)

    def log(self, message: str, *, job: str = "", severity: str = "error") -> None:
        """Say in the log what a transition's script has put into the stream."""
        level = {"info": logging.INFO, "warning": logging.WARNING}.get(severity, logging.ERROR)
        logger.log(level, "alert: %s", message, extra={"job": job})
