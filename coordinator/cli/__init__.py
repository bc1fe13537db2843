"""The command line: each command calls the façade and is a few lines.

``program.py`` holds the group and its table of commands; a command's module is
imported when it is called, so ``--help`` loads neither Celery nor polars.
"""

from coordinator.cli.program import main

__all__ = ["main"]
