"""Who may steer jobs from Flower.

Invariant: never less than Flower asks for its own controls. Beyond that, with no
password configured, steering needs a Flower that listens on this machine alone, and
a request from one of its own pages: neither another site (its origin differs and it
has no token) nor a name that was bound to a loopback address may steer.
"""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from tornado.web import HTTPError, RequestHandler

FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via")
READ_ONLY = "Flower is read-only (--read-only)"
NO_PASSWORD = "Steering needs a password: start Flower with FLOWER_BASIC_AUTH=user:password"  # noqa: S105


def why_not_steer(handler: Any) -> str | None:
    """Return why this request may not steer jobs, or None where it may."""
    options = handler.application.options
    if options.read_only:
        return READ_ONLY
    if options.basic_auth or options.auth or handler.unauthenticated_api:
        return None  # logged in, or opened on purpose: Flower's own rule
    if is_loopback(options.address) and _is_local(handler.request):
        return None
    return NO_PASSWORD


def check_same_origin(handler: Any) -> None:
    """Refuse a request that none of our own pages made.

    Raises:
        HTTPError: 403.
    """
    request = handler.request
    options = handler.application.options
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site and site != "same-origin":
        raise HTTPError(403, "Cross-site request forbidden")
    if origin and origin.partition("://")[2] != request.host and not site:
        raise HTTPError(403, "Cross-origin request forbidden")
    logs_in = bool(options.basic_auth or options.auth) and "Authorization" in request.headers
    if not (site or origin) and (logs_in or handler.unauthenticated_api):
        return  # a program, not a browser that was led here
    RequestHandler.check_xsrf_cookie(handler)


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach ``address``."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _is_local(request: Any) -> bool:
    """Whether the request came straight from this machine, by a name that means it."""
    name = urlsplit(f"//{request.host}").hostname or ""
    return is_loopback(name) and not any(header in request.headers for header in FORWARDED)
