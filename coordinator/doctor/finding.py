"""What a check found, and what to do about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARN, ERROR = "ok", "warn", "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    name: str
    level: str  # ok | warn | error
    found: str
    advice: str = ""

    @property
    def ok(self) -> bool:
        return self.level == OK


def judged(name: str, found: str, advice: str = "", *, fault: str = "") -> Finding:
    """Return a finding that is ok where ``fault`` is empty; advice is given only where it is not.

    Args:
        name: the check's name.
        found: what was found.
        advice: what to do where there is a fault.
        fault: the level of the fault, or "".
    """
    return Finding(name, fault or OK, found, advice if fault else "")
