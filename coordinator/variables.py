"""The names of all environment variables that Batuta reads, to tell the mistyped ones.

Owns the list; what each says is read elsewhere. A stranger is told of, never refused: another
program may use the same first word. Pure, and light: the command line asks at each call.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

FIRST_WORD = "COORDINATOR_"
KNOWN = frozenset(
    FIRST_WORD + name
    for name in {
        *("ALERT_RULES", "ALERT_URLS", "API_BODY_LIMIT_BYTES", "API_OPEN", "API_QUEUES", "API_RATE"),
        *("API_TOKENS", "API_WAITING", "BLOB_URL", "EXPENDABLE", "GRACE_S", "HOME", "JOBS", "LEASE_S", "LOG"),
        *("MAX_ATTEMPTS", "PREFIX", "QUEUE", "QUEUE_TYPE", "QUIET_S", "READY_FILE", "RESULT_LIMIT_BYTES"),
        *("RETENTION_S", "TICK_S"),
    }
)
#: Those without the first word, which one may well put before them.
BARE = ("BROKER_URL", "REDIS_URL")


def strangers(env: Mapping[str, str] | None = None) -> list[str]:
    """Return a sentence for each variable that looks like one of Batuta's and that nothing reads."""
    found = os.environ if env is None else env
    return [_told(name) for name in sorted(found) if name.startswith(FIRST_WORD) and name not in KNOWN]


def _told(name: str) -> str:
    import difflib  # only where there is something to say

    meant = {known.removeprefix(FIRST_WORD): known for known in sorted(KNOWN)} | {bare: bare for bare in BARE}
    near = difflib.get_close_matches(name.removeprefix(FIRST_WORD), meant, 1)
    advice = (
        f"did you mean {meant[near[0]]}?" if near else "docs/reference/settings.md lists those that there are"
    )
    return f"{name} is set, but nothing reads it; {advice}"
