"""Tables for the reference, made from the source, so that they can't grow old. Pure but for reading files.

Owns what ``<!-- generated: … -->`` stands for. Invariant: text that can't be read as expected is an error,
never an empty table.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
FIELD = re.compile(
    r"^    \w+: [^=\n]+ = (?P<default>.+?)  # (?P<variable>[A-Z_]+)(?P<value>=\w+)?[;:] (?P<text>.+)$", re.M
)
RULE = re.compile(r"^=+(?: =+)+$", re.M)


def settings() -> str:
    """The fields of ``Settings``, by their comments."""
    return _settings_of("coordinator/settings.py")


def web_settings() -> str:
    """The fields of ``WebSettings``, by their comments."""
    return _settings_of("coordinator/web/settings.py")


def redis_keys() -> str:
    """The docstring of ``state/keys.py``, its table and its paragraphs."""
    text = ast.get_docstring(ast.parse(_source("coordinator/state/keys.py"))) or ""
    before, head, body, after = RULE.split(text)
    body = [_cells(line, 3) for line in body.strip().splitlines()]
    table = _table(
        _cells(head.strip(), 3), [(f"`{name}`", kind, _markdown(what)) for name, kind, what in body]
    )
    invariant = before.partition("\n\n")[2]  # without the module's own first line
    return "\n\n".join(_markdown(part) for part in (invariant, table, after))


def transitions() -> str:
    """Which states a job may go to, from each."""
    from coordinator.states import TRANSITIONS, State

    rows = [
        (
            f"`{state}`",
            ", ".join(f"`{after}`" for after in State if after in TRANSITIONS[state]) or "none: it has ended",
        )
        for state in State
    ]
    return _table(("state", "may become"), rows)


def step_states() -> str:
    """The states of a step, by the comments of ``StepState``."""
    body = _source("coordinator/states.py").partition("class StepState")[2].partition("\n\n\n")[0]
    found = re.findall(r'^    [A-Z]+ = "(\w+)"(?:  # (.+))?$', body, re.M)
    assert all(why for _, why in found), "expected a comment at each state of StepState"
    return _table(("state", "means"), [(f"`{state}`", why) for state, why in found])


def decisions() -> str:
    """A list of all decision notes, by their headings."""
    notes = [(path.name, path.read_text().partition("\n")[0].lstrip("# ")) for path in decision_notes()]
    return "\n".join(f"- [{_numbered(name, title)}]({name})" for name, title in notes)


def decision_notes() -> list[Path]:
    """The decision notes, by number."""
    return sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))


def changelog() -> str:
    """The changelog without its heading."""
    return _source("CHANGELOG.md").partition("\n")[2]


def process_data_params() -> str:
    """The parameters of the shipped job, by their descriptions."""
    from tasks.process_data.params import ProcessData

    return _fields_of(ProcessData)


def process_data_rules() -> str:
    """What a file of rules may hold."""
    from tasks.process_data.rules import Rules

    return _fields_of(Rules)


def process_data_columns() -> str:
    """What rules may say of a column."""
    from tasks.process_data.rules import Column

    return _fields_of(Column)


TABLES: dict[str, Callable[[], str]] = {
    "settings": settings,
    "web-settings": web_settings,
    "redis-keys": redis_keys,
    "transitions": transitions,
    "step-states": step_states,
    "decisions": decisions,
    "process-data-params": process_data_params,
    "process-data-rules": process_data_rules,
    "process-data-columns": process_data_columns,
    "changelog": changelog,
}


def _fields_of(model: Any) -> str:
    """A pydantic model's fields, by their descriptions."""
    rows = [
        (
            f"`{name}`",
            "needed" if field.is_required() else _shown(field.get_default(call_default_factory=True)),
            field.description,
        )
        for name, field in model.model_fields.items()
    ]
    return _table(("name", "default", "what it says"), rows)


def _shown(value: object) -> str:
    return "not set" if value in (None, "", {}) else f"`{json.dumps(value)}`"


def _settings_of(path: str) -> str:
    found = [match.groupdict("") for match in FIELD.finditer(_source(path))]
    assert found, f"expected fields with comments in {path}, found none"
    rows = [
        (f"`{field['variable']}{field['value']}`", _default(field["default"]), field["text"])
        for field in found
    ]
    return _table(("variable", "default", "what it says"), rows)


def _default(text: str) -> str:
    value = eval(text, {"__builtins__": {}})  # noqa: S307  a number or a text, in our own source
    if isinstance(value, bool):
        return "off" if not value else "on"
    if isinstance(value, tuple):
        value = ",".join(value)
    return f"`{value}`" if value not in ("", None) else "not set"


def _numbered(name: str, title: str) -> str:
    number = str(int(name.partition("-")[0]))
    return f"{number}. {re.sub(r'^0*[0-9]+[.:] ', '', title)}"


def _cells(line: str, count: int) -> list[str]:
    cells = line.split(None, count - 1)
    assert len(cells) == count, f"expected {count} columns, got {line!r}"
    return cells


def _markdown(text: str) -> str:
    return re.sub(r"``([^`]+)``", r"`\1`", text.strip())


def _table(head: tuple[str, ...] | list[str], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    # A bar within code divides no cells.
    assert not any("|" in re.sub("`[^`]*`", "", cell) for line in lines for cell in line)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _source(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")
