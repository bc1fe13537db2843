"""What mkdocs does beside building pages: tables out of the source, links, and a look for requests.

A page says ``<!-- generated: settings -->`` where a table of ``generate.py`` goes. Invariant: no built
page makes a browser ask another site for anything; a page that would is a warning, which fails the build.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

import generate  # its neighbour: mkdocs looks there

ROOT = Path(__file__).resolve().parents[2]
PLACEHOLDER = re.compile(r"<!-- generated: (?P<name>[a-z-]+) -->")
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[^)#\s]+)[^)]*\)")
REQUEST = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|<link\b(?=[^>]*rel=["']?(?:stylesheet|preload|preconnect|icon))[^>]*href=["']?(?:https?:)?//[^"'\s>]+"""
)

log = logging.getLogger("mkdocs.hooks.batuta")


def on_config(config: Any) -> Any:
    """Add every decision note to the navigation."""
    notes = [f"decisions/{path.name}" for path in generate.decision_notes()]
    for section in config.nav:
        for entries in section.values():
            for entry in entries if isinstance(entries, list) else ():
                if "Decisions" in entry:
                    entry["Decisions"] += [note for note in notes if note not in entry["Decisions"]]
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in what is generated, and make plain text of links to files that are not part of the site."""
    source = page.file.src_uri

    def plain(link: re.Match[str]) -> str:
        target = link["target"]
        if "://" in target or target.startswith(("mailto:", "/")):
            return link[0]
        goal = posixpath.normpath(posixpath.join("docs", posixpath.dirname(source), target))
        is_outside = goal.split("/")[0] != "docs" and (ROOT / goal).exists()
        return link["text"] if is_outside else link[0]

    markdown = LINK.sub(plain, markdown)
    return PLACEHOLDER.sub(lambda match: generate.TABLES[match["name"]](), markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Warn of everything that a browser would fetch from elsewhere."""
    for found in REQUEST.findall(output):
        log.warning("%s: expected no request to another site, found %s", page.file.src_uri, found)
    return output
