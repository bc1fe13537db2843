"""Which channel wants which alert. Pure.

Owns the rules' file (TOML). Invariant: the first rule that fits decides, so an
alert is wanted by the channels of one rule; without a file, all channels want
every warning and error, and the word that a job has recovered.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coordinator.errors import SettingsError

SEVERITIES = ("info", "warning", "error")
#: Every kind of alert.
ALERTS = (
    "rejected", "failed", "dead-letter", "deadline", "stalled", "recovered", "redis-empty", "message",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Alert:
    """One entry of the stream of alerts."""

    id: str  # shard and Redis stream id: "3-1795501938877-0"
    at_ms: int
    job: str  # "" where it is about no job
    alert: str  # what kind: one of ALERTS
    severity: str
    message: str
    more: int = 0  # alerts like it that were held back since the last one

    @classmethod
    def of_entry(cls, shard: int, stamp: str, fields: Mapping[str, str]) -> Alert:
        """Return an alert from its entry in a shard's stream."""
        at_ms = int(stamp.partition("-")[0])
        return cls(
            f"{shard}-{stamp}",
            at_ms,
            fields.get("job", ""),
            fields.get("alert", "message"),
            fields.get("severity", "error"),
            fields.get("message", ""),
        )


class Rule(BaseModel):
    """Who wants what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alerts: tuple[str, ...] = Field(default=(), description="kinds of alert; none means all")
    kinds: tuple[str, ...] = Field(default=(), description="kinds of job, with * and ?; none means all")
    severity: str = Field(default="info", description="at least this")
    channels: tuple[str, ...] | None = Field(default=None, description="names; left out means all, [] none")

    def fits(self, alert: Alert, kind: str) -> bool:
        """Whether this rule decides about an alert of a job of that kind."""
        if self.alerts and alert.alert not in self.alerts:
            return False
        if self.kinds and not any(fnmatchcase(kind, pattern) for pattern in self.kinds):
            return False
        return _weight(alert.severity) >= _weight(self.severity)


class Rules(BaseModel):
    """The file of rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: tuple[Rule, ...] = (Rule(alerts=("recovered",)), Rule(severity="warning"))
    window_s: int = Field(default=300, ge=0, le=86400, description="alike alerts are sent once in it")
    per_minute: int = Field(default=30, ge=1, description="sent to one channel in a minute; the rest waits")
    give_up_s: int = Field(default=86400, ge=1, description="a channel dead for longer misses the alert")
    stalled_s: float = Field(
        default=900, ge=1, allow_inf_nan=False, description="a job that nothing moves for so long"
    )
    queue: str = Field(default="", description="where the sending steps go; the default queue if empty")

    @classmethod
    def read(cls, path: str, names: Sequence[str]) -> Rules:
        """Read a file of rules for the channels of these names.

        Raises:
            SettingsError: naming everything in it that can't be used.
        """
        try:
            rules = cls.model_validate(tomllib.loads(Path(path).read_text()))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"COORDINATOR_ALERT_RULES: expected a TOML file: {error}") from error
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors(include_url=False)]
            raise SettingsError(f"COORDINATOR_ALERT_RULES {path}: " + "; ".join(faults)) from error
        faults = [fault for place, rule in enumerate(rules.rule) for fault in _faults(place, rule, names)]
        if faults:
            raise SettingsError(f"COORDINATOR_ALERT_RULES {path}: " + "; ".join(faults))
        return rules

    def wanted_by(self, alert: Alert, kind: str, names: Sequence[str]) -> Sequence[str]:
        """Return the names of the channels that want an alert of a job of that kind."""
        for rule in self.rule:
            if rule.fits(alert, kind):
                return names if rule.channels is None else rule.channels
        return ()


def _faults(place: int, rule: Rule, names: Sequence[str]) -> list[str]:
    checked: tuple[tuple[str, Sequence[Any], Sequence[str]], ...] = (
        ("alerts", rule.alerts, ALERTS),
        ("severity", (rule.severity,), SEVERITIES),
        ("channels", rule.channels or (), names),
    )
    return [
        f"rule.{place}.{member}: expected one of {', '.join(known) or '(no channel is named)'}, got {word!r}"
        for member, words, known in checked
        for word in words
        if word not in known
    ]


def _weight(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
