"""The Jobs tab in Flower.

Owns how Flower gets it: more handlers, and templates that have one more link.
Invariant: importing this package imports neither Tornado nor Flower, for every
worker does so; what is named here is loaded when Flower itself starts. The pages
are in ``pages.py``, what they show in ``view.py``, why it is so in decision 0008.
"""

from __future__ import annotations

import sys
from functools import cached_property
from typing import Any

HERE = "coordinator.dashboard.pages"
#: What ids look like in an address: everything, as they may hold slashes.
ROUTES = (
    (r"/jobs", f"{HERE}.JobsPage"),
    (r"/jobs/list", f"{HERE}.JobsList"),
    (r"/jobs/live/(.+)", f"{HERE}.JobLive"),
    (r"/jobs/(cancel|pause|resume|retry)/(.+)", f"{HERE}.Steer"),
    (r"/jobs/static/(.+)", f"{HERE}.Assets"),
    (r"/job/(.+)", f"{HERE}.JobPage"),
)


class LazyTemplates:
    """Flower's template loader with ours before it, made when Flower renders its first page."""

    @cached_property
    def _loader(self) -> Any:
        from coordinator.dashboard.templates import Templates

        return Templates()

    def load(self, name: str, parent_path: str | None = None) -> Any:
        """Return a template by name, as Tornado asks for it."""
        return self._loader.load(name, parent_path)

    def reset(self) -> None:
        """Forget what was compiled: Tornado asks so in debug mode."""
        self._loader.reset()


class FlowerTab:
    """A Celery fixup: an app on which Flower is started shows the Jobs tab."""

    def __init__(self, app: Any) -> None:
        self.app = app
        if add_jobs_tab():
            add_metrics(app)


def add_jobs_tab() -> bool:
    """Add the Jobs tab to Flower, where Flower runs; returns whether it was added now."""
    urls = sys.modules.get("flower.urls")
    if urls is None or ROUTES[0] in urls.handlers:
        return False
    urls.handlers[-1:-1] = ROUTES  # the last one catches all
    urls.settings.setdefault("template_loader", LazyTemplates())
    return True


def add_metrics(app: Any) -> None:
    """Add the metrics of jobs to those that Flower serves."""
    from prometheus_client import REGISTRY

    from coordinator.metrics import JobsCollector

    REGISTRY.register(JobsCollector(lambda: app.parts.state))
