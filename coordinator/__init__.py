"""Batuta: durable jobs on Celery. The public names, loaded when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coordinator.canvas import each, race
    from coordinator.coordinator import Coordinator
    from coordinator.installation import install
    from coordinator.registry import job
    from coordinator.settings import Settings

__version__ = "0.1.0"
__all__ = ["Coordinator", "Settings", "each", "install", "job", "race"]

_HOMES = {
    "Coordinator": "coordinator.coordinator",
    "Settings": "coordinator.settings",
    "each": "coordinator.canvas",
    "install": "coordinator.installation",
    "job": "coordinator.registry",
    "race": "coordinator.canvas",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'coordinator' has no name {name!r}; public names: {', '.join(__all__)}")
