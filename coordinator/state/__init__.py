"""The state of jobs in Redis: see ``manager`` (writes), ``journal`` (reads), ``keys`` and ``lua/``."""

from coordinator.state.keys import Keys, parse_step_id, step_id
from coordinator.state.manager import StateManager

__all__ = ["Keys", "StateManager", "parse_step_id", "step_id"]
