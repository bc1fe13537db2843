"""Logs as JSON, one object a line, for those who collect them: ``COORDINATOR_LOG=json``.

Owns the form. Invariant: a line that was written while a step ran, or about one,
says ``job``, ``step`` and ``attempt``, whoever wrote it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from celery import current_task, signals

from coordinator.errors import SettingsError
from coordinator.state.keys import parse_step_id

VARIABLE = "COORDINATOR_LOG"
#: What every record has by itself; the rest was given by whoever wrote it.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "data"}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_place(record),
            **{name: value for name, value in vars(record).items() if name not in _OWN and value != ""},
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


def is_json(env: Mapping[str, str] | None = None) -> bool:
    """Whether logs are to be JSON.

    Raises:
        SettingsError: the variable is neither json nor text.
    """
    text = (os.environ if env is None else env).get(VARIABLE, "").strip() or "text"
    if text not in ("json", "text"):
        raise SettingsError(f"{VARIABLE}: expected json or text, got {text!r}")
    return text == "json"


def install() -> None:
    """Let Celery's workers write JSON, where that is asked for."""
    if is_json():
        signals.after_setup_logger.connect(_set_formatters, weak=False)
        signals.after_setup_task_logger.connect(_set_formatters, weak=False)


def _set_formatters(logger: logging.Logger, **_: Any) -> None:
    for handler in logger.handlers:
        handler.setFormatter(JsonFormatter())


def _place(record: logging.LogRecord) -> dict[str, Any]:
    """Return job, step and attempt: of the step that runs here, or of the one that the record is about."""
    request = getattr(current_task, "request", None) if current_task else None
    told = getattr(record, "data", None)  # Celery's own words about a task: received, succeeded, …
    task_id = getattr(request, "id", None) or (told.get("id") if isinstance(told, dict) else None)
    step = parse_step_id(task_id) if isinstance(task_id, str) else None
    if step is None:
        return {"task": task_id} if task_id else {}
    attempt = getattr(request, "fence", None)
    return {"job": step[0], "step": task_id, **({"attempt": attempt} if attempt else {})}
