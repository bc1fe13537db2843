"""The tasks of the conformance suite: plain, of no app of their own, so that both sides run the very same."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from celery import shared_task

LONGEST_TEXT = 160


@shared_task
def add(x: int, y: int, z: int = 0) -> int:
    return x + y + z


@shared_task
def mul(x: int, y: int) -> int:
    return x * y


@shared_task
def double(x: int) -> int:
    return 2 * x


@shared_task
def tsum(numbers: list[int]) -> int:
    return sum(numbers)


@shared_task
def ident(value: Any) -> Any:
    return value


@shared_task
def seven() -> int:
    return 7


@shared_task
def numbers(n: int) -> list[int]:
    return list(range(n))


@shared_task
def show(*args: Any, **kwargs: Any) -> str:
    """Return all that came in as text; long texts as their digest, so that values do not grow without end."""
    text = json.dumps([args, kwargs], sort_keys=True)
    if len(text) > LONGEST_TEXT:
        return hashlib.sha256(text.encode()).hexdigest()[:12]
    return text


@shared_task(bind=True)
def delivery(self: Any, *_: Any) -> dict[str, Any]:
    """Return how the message came: what options of a signature can be seen by."""
    request, properties = self.request, self.request.properties or {}
    limits = request.timelimit or [None, None]
    return {
        "queue": _queue_kind((request.delivery_info or {}).get("routing_key") or ""),
        "priority": (request.delivery_info or {}).get("priority") or 0,
        "hard_limit": limits[0],
        "soft_limit": limits[1],
        "expires": request.expires is not None,
        "retries": request.retries,
        "header": (request.headers or {}).get("colour") or request.get("colour"),
        "type": properties.get("content_type"),
    }


def _queue_kind(name: str) -> str:
    return "side" if name.endswith("side") else "default"
