"""The rules of a data-quality gate, as a model: what a column must be, what a row must satisfy.

Pure: reading and validating rules never looks at the source. What an expression
means on the source's columns is told by ``compiled``.
"""

from __future__ import annotations

import json
import tomllib
from datetime import date, datetime, time
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import RulesError, SourceError

Scalar = bool | int | float | str
ColumnType = Literal["string", "integer", "number", "decimal", "boolean", "date", "datetime"]
DATE_FORMATS = ("%Y-%m-%d",)
DATETIME_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Model):
    """What one column's values must be."""

    type: ColumnType | None = Field(
        default=None,
        description="what values are read as, invalid if they can't be; by default they stay as they are",
    )
    required: bool = Field(default=False, description="a missing value is invalid")
    allowed: list[Scalar] | None = Field(default=None, description="the only values accepted")
    min: Scalar | None = Field(default=None, description="the least value accepted")
    max: Scalar | None = Field(default=None, description="the greatest value accepted")
    pattern: str | None = Field(default=None, description="regular expression that the whole text must match")
    hint: str = Field(default="", description="what the pattern means, in words, for messages")
    format: str | list[str] | None = Field(default=None, description="how dates are written, as in strftime")
    scale: int = Field(default=2, ge=0, le=18, description="digits after the point, for decimal")
    trim: bool = Field(default=False, description="drop white space around the text first")
    missing: list[str] | None = Field(default=None, description="texts that mean: no value")

    @model_validator(mode="before")
    @classmethod
    def _dates_as_text(cls, value: Any) -> Any:
        return _without_dates(value)

    @model_validator(mode="after")
    def _refuse_idle(self) -> Column:
        if self.allowed == []:
            raise ValueError("allowed: expected at least one value, found none; take it out")
        if self.format is not None and self.type not in ("date", "datetime"):
            raise ValueError("format: only dates have one; set type to date or datetime, or take it out")
        if "scale" in self.model_fields_set and self.scale != 2 and self.type != "decimal":
            raise ValueError("scale: only decimals have one; set type to decimal, or take it out")
        return self

    @property
    def formats(self) -> tuple[str, ...]:
        if self.format is not None:
            return (self.format,) if isinstance(self.format, str) else tuple(self.format)
        return DATE_FORMATS if self.type == "date" else DATETIME_FORMATS


class RowRule(_Model):
    """What must hold between the columns of one row."""

    sql: str = Field(
        description="SQL expression; a row for which it is false is invalid, null passes as in SQL's CHECK"
    )
    message: str = Field(default="", description="what to tell about a row that breaks it")


class Summary(_Model):
    """Figures over the valid rows."""

    group_by: list[str] = Field(default_factory=list, description="columns, derived ones too")
    aggregates: dict[str, str] = Field(
        description="name: COUNT(*), or COUNT, SUM, AVG, MIN or MAX of an expression"
    )


class Rules(_Model):
    """Everything that makes a row valid, and what to do with those that are not."""

    columns: dict[str, Column] = Field(
        default_factory=dict, description="by name; others pass through as they are"
    )
    row_rules: dict[str, RowRule] = Field(
        default_factory=dict, description="by name: what must hold in each row"
    )
    derived: dict[str, str] = Field(
        default_factory=dict, description="new columns by name, as SQL expressions"
    )
    summary: Summary | None = Field(default=None, description="figures over the valid rows")
    on_invalid: Literal["quarantine", "fail"] = Field(
        default="quarantine", description="set invalid rows aside, or fail the job for them"
    )
    max_invalid_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="share of invalid rows still accepted; by default 1, with fail 0",
    )
    missing: list[str] = Field(default=[""], description="texts that mean: no value, in every column")

    @model_validator(mode="before")
    @classmethod
    def _short_row_rules(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("row_rules"), dict):
            named = {k: {"sql": v} if isinstance(v, str) else v for k, v in value["row_rules"].items()}
            return {**value, "row_rules": named}
        return value

    @model_validator(mode="after")
    def _refuse_nameless(self) -> Rules:
        for kind, names in (("row_rules", self.row_rules), ("derived", self.derived)):
            if any(not name.strip() or "\0" in name for name in names):
                raise ValueError(f"{kind}: expected a name for each, found none or one with a NUL character")
        return self

    @property
    def accepted_share(self) -> float:
        if self.max_invalid_share is not None:
            return self.max_invalid_share
        return 1.0 if self.on_invalid == "quarantine" else 0.0


def load_rules(place: str | dict[str, Any]) -> Rules:
    """Read rules from a path, a URL or an object.

    Raises:
        RulesError: the file can't be read or parsed, or holds something that rules don't have.
    """
    raw, name = (place, "the rules") if isinstance(place, dict) else (_parsed(place), place)
    try:
        return Rules.model_validate(raw)
    except ValidationError as error:
        raise RulesError("; ".join(_fault(name, fault) for fault in error.errors())) from None


def _parsed(place: str) -> Any:
    from .sources import read_bytes

    is_json = place.lower().endswith(".json")
    try:
        text = read_bytes(place).decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=each_once) if is_json else tomllib.loads(text)
    except SourceError as error:
        raise RulesError(f"rules: {error}") from None
    except UnicodeDecodeError as error:
        raise RulesError(
            f"{place}: expected UTF-8 text, found byte {error.object[error.start]:#04x}; save it as UTF-8"
        ) from None
    except (ValueError, RecursionError) as error:
        named = "TOML" if place.lower().endswith(".toml") else "TOML, or JSON in a file called .json"
        kind = "JSON" if is_json else named
        raise RulesError(
            f"{place}: expected {kind}, but it does not parse: {error}; correct that place"
        ) from None


def _fault(name: str, fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"]) or "the whole"
    if fault["type"] == "extra_forbidden":
        return f"{name}: {where} is not something rules have; check its spelling, or take it out"
    if fault["type"] == "value_error":
        return ": ".join(str(part) for part in (name, *fault["loc"], fault["ctx"]["error"]))
    return f"{name}: {where}: {fault['msg'][0].lower()}{fault['msg'][1:]}, found {str(fault['input'])[:80]!r}"


def _without_dates(value: Any) -> Any:
    """TOML has dates of its own; rules carry them as text so that they stay JSON."""
    if isinstance(value, dict):
        return {key: _without_dates(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_dates(each) for each in value]
    return value.isoformat() if isinstance(value, date | datetime | time) else value


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, as ``object_pairs_hook``: of a key that stands there twice, one value would be lost.

    Raises:
        ValueError: it names the key.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return found
