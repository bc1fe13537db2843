"""Shell completion of kinds and job ids: quick, and silent when nothing can be reached."""

from __future__ import annotations

import logging
from typing import Any

import click

NEWEST = 50


def kinds(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    """Offer the registered kinds."""
    try:
        from coordinator.cli import connection

        names = connection.loaded_registry().kinds()
    except Exception:  # A completion that fails must not write into the user's prompt.
        logging.getLogger(__name__).debug("completion.failed", exc_info=True)
        return []
    return [name for name in names if name.startswith(incomplete)]


def jobs(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    """Offer the newest jobs' ids with their states."""
    from click.shell_completion import CompletionItem

    try:
        from coordinator.cli import connection

        found = connection.running_coordinator().jobs(limit=NEWEST)
    except Exception:  # As above.
        logging.getLogger(__name__).debug("completion.failed", exc_info=True)
        return []
    return [CompletionItem(job.id, help=job.state) for job in found if job.id.startswith(incomplete)]
