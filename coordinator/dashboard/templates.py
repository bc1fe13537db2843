"""Flower's templates, ours before them, and one link more in Flower's navigation.

Invariant: what Flower ships is used as it is but for the link, so a new Flower
keeps its own look. Where its navigation has changed beyond recognition the link is
left out, with a warning; the pages still answer at ``/jobs``.
"""

from __future__ import annotations

import logging
import posixpath
from pathlib import Path
from typing import Any

import flower
from tornado.template import BaseLoader, Template

logger = logging.getLogger(__name__)

OURS = Path(__file__).parent / "html"
FLOWERS = Path(flower.__file__).parent / "templates"
#: Our link goes before Flower's last link of pages, to the tasks' right.
BEFORE = """<li class="nav-item">
          <a class="nav-link{% if active_tab == 'broker' %} active{% end %}\""""
LINK = """<li class="nav-item">
          <a class="nav-link{% if active_tab == 'jobs' %} active{% end %}"
            href="{{ jobs_prefix(handler) }}/jobs"
            {% if active_tab == 'jobs' %}aria-current="page"{% end %}>Jobs</a>
        </li>
        """


class Templates(BaseLoader):
    """Finds a template among ours, then among Flower's."""

    def __init__(self) -> None:
        super().__init__(namespace={"jobs_prefix": _jobs_prefix})

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:
        if parent_path and not parent_path.startswith("<") and not name.startswith("/"):
            return posixpath.normpath(posixpath.join(posixpath.dirname(parent_path), name))
        return name

    def _create_template(self, name: str) -> Template:
        folder = OURS if (OURS / name).is_file() else FLOWERS
        text = (folder / name).read_text(encoding="utf-8")
        return Template(with_link(text) if name == "navbar.html" else text, name=name, loader=self)


def _jobs_prefix(handler: Any) -> str:
    return prefix_of(handler.application.options)


def with_link(navbar: str) -> str:
    """Return Flower's navigation with the link to the jobs."""
    if BEFORE not in navbar:
        logger.warning("Flower's navigation has changed: it has no link to the jobs, which are at /jobs")
        return navbar
    return navbar.replace(BEFORE, LINK + BEFORE, 1)


def prefix_of(options: Any) -> str:
    """Return what every address of this Flower starts with: "" or "/prefix"."""
    return "/" + options.url_prefix.strip("/") if options.url_prefix else ""
