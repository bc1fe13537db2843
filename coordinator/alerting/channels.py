"""The channels, by name, and the sending to one of them through Apprise.

Owns COORDINATOR_ALERT_URLS. Invariant: a URL holds secrets, so it leaves the
environment of the worker that sends only to the channel itself: no message, no
error, no log line, no key in Redis names more of it than its scheme.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from coordinator.alerting.rules import Alert
from coordinator.errors import BatutaError, SettingsError

_ENTRY = re.compile(r"(?:(?P<name>[A-Za-z0-9_-]{1,40})=)?(?P<url>[A-Za-z][A-Za-z0-9+.-]*://\S+)")
_WORDS = {"info": "info", "warning": "warning", "error": "failure"}


class DeliveryFailed(BatutaError):
    """A channel did not take an alert."""


def read_channels(text: str) -> dict[str, str]:
    """Return URLs by their channel's name: ``name=URL`` by spaces; without a name, its place: 1, 2 …

    Raises:
        SettingsError: an entry can't be used; it is named by its place, for it may hold a secret.
    """
    channels: dict[str, str] = {}
    for place, entry in enumerate(text.split(), start=1):
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise SettingsError(
                f"COORDINATOR_ALERT_URLS: expected entry {place} to be an Apprise URL, or name=URL"
            )
        name = match["name"] or str(place)
        if name in channels:
            raise SettingsError(f"COORDINATOR_ALERT_URLS: expected each name once, got {name!r} twice")
        channels[name] = match["url"]
    return channels


def send(name: str, url: str, alert: Alert) -> None:
    """Send an alert to a channel; tries once.

    Raises:
        DeliveryFailed: it was not taken; says which channel, and nothing of its URL.
    """
    try:
        import apprise
    except ModuleNotFoundError:
        raise DeliveryFailed("expected the package apprise on this worker; do: pip install apprise") from None
    _keep_quiet()
    scheme = url.partition("://")[0]
    channel = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Batuta", secure_logging=True))
    try:
        is_known = channel.add(url)
        is_taken = bool(is_known and channel.notify(**_text(alert)))
    except Exception as error:  # whatever a plugin raises may quote its URL
        raise DeliveryFailed(f"channel {name} ({scheme}://) raised {type(error).__name__}") from None
    if not is_known:
        raise DeliveryFailed(f"channel {name}: Apprise can't read its {scheme}:// URL; correct it")
    if not is_taken:
        raise DeliveryFailed(
            f"channel {name} ({scheme}://) did not take the alert; is it up, and its URL right?"
        )


def _text(alert: Alert) -> dict[str, Any]:
    about = f"job {alert.job}" if alert.job else "Batuta"
    lines = [alert.message]
    if alert.more:
        lines.append(f"{alert.more} more like it were held back")
    lines.append(f"alert {alert.id.replace('-', ':', 1)}")  # as the feed has it: tells one that comes twice
    kind = "success" if alert.alert == "recovered" else _WORDS.get(alert.severity, "failure")
    return {"title": f"{about}: {alert.alert}", "body": "\n".join(lines), "notify_type": kind}


def _keep_quiet() -> None:
    """Let neither Apprise nor urllib3 write URLs into a log, however much the worker logs."""
    logging.getLogger("apprise").disabled = True
    logging.getLogger("urllib3.connectionpool").disabled = True
