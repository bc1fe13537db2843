"""``Alerting``: what the reconciler does about alerts at each tick.

Invariant: nothing here ends the reconciler. Where rules or channels can't be
used, that is said in the log, once; alerts stay in the log and in the feed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from coordinator.alerting.channels import read_channels
from coordinator.alerting.relay import Relay
from coordinator.alerting.rules import Rules
from coordinator.alerting.stalls import Stalls
from coordinator.errors import SettingsError
from coordinator.parts import Parts

URLS, RULES = "COORDINATOR_ALERT_URLS", "COORDINATOR_ALERT_RULES"

logger = logging.getLogger("coordinator.alerts")


class Alerting:
    """Finds jobs that stand still, and hands new alerts to the channels that want them."""

    def __init__(self, parts: Parts, env: Mapping[str, str] | None = None) -> None:
        try:
            rules, names = load(os.environ if env is None else env)
        except SettingsError as error:
            logger.error("alerts reach the log and the feed alone: %s", error)
            rules, names = Rules(), ()
        self._stalls = Stalls(parts, rules.stalled_s)
        self._relay = Relay(parts, rules, names)

    def tick(self) -> None:
        """Do one round; only for the worker that reconciles."""
        self._stalls.look()
        self._relay.hand_on()


def load(env: Mapping[str, str]) -> tuple[Rules, tuple[str, ...]]:
    """Return the rules and the names of the channels.

    Raises:
        SettingsError: naming everything that can't be used, but no URL.
    """
    names = tuple(read_channels(env.get(URLS, "")))
    path = env.get(RULES, "").strip()
    return (Rules.read(path, names) if path else Rules()), names
