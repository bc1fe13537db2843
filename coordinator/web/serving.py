"""gunicorn's settings that no flag says: ``gunicorn -c python:coordinator.web.serving``.

With COORDINATOR_LOG=json all logs, gunicorn's own included, are JSON, one object a line.
"""

from typing import Any

from coordinator.logs import is_json
from coordinator.web import streams

_FORMATTER = {"()": "coordinator.logs.JsonFormatter"}
_HANDLER = {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "json"}
_QUIET = {"handlers": ["stderr"], "level": "INFO", "propagate": False}

if is_json():
    logconfig_dict = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": _FORMATTER},
        "handlers": {"stderr": _HANDLER},
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {"gunicorn.error": _QUIET, "gunicorn.access": _QUIET},
    }


def post_worker_init(worker: Any) -> None:
    """Let streams end when their process is told to, rather than when it is made to."""
    streams.is_ending = lambda: not worker.alive
