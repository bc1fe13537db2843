"""Who may do what: bearer tokens with scopes, or this machine alone.

Invariant: whoever shows no token that is known gets 401, and one without the
scope 403. An interface that was opened without tokens answers loopback only,
and no web page of another site: its name must be a loopback name, which a
rebound DNS name is not, and its origin its own.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from flask import request

from coordinator.web.problems import ApiProblem
from coordinator.web.settings import WebSettings
from coordinator.web.tokens import token_of

EVERYONE = "open"
REALM = 'Bearer realm="batuta"'


def authorise(settings: WebSettings, scope: str) -> str:
    """Return the name of whoever asks.

    Raises:
        ApiProblem: 401 or 403.
    """
    if settings.is_open and not settings.tokens:
        _refuse_others()
        return EVERYONE
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    token = token_of(secret.strip(), settings.tokens) if kind.lower() == "bearer" else None
    if token is None:
        raise ApiProblem(
            401,
            "unauthorized",
            "expected the header Authorization: Bearer with a token that is known",
            headers={"WWW-Authenticate": REALM},
        )
    if scope not in token.scopes:
        raise ApiProblem(
            403,
            "forbidden",
            f"the token {token.name} may not {scope}; it may {', '.join(sorted(token.scopes))}",
            headers={"WWW-Authenticate": f'{REALM}, error="insufficient_scope", scope="{scope}"'},
        )
    return token.name


def is_loopback(address: str) -> bool:
    """Whether an address or name means this machine."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"


def _refuse_others() -> None:
    try:
        host = urlsplit(f"//{request.host}").hostname or ""
    except ValueError:  # no host at all, such as "["
        host = ""
    origin = request.headers.get("Origin")
    is_own = origin is None or origin.partition("://")[2] == request.host
    is_direct = "X-Forwarded-For" not in request.headers and "Forwarded" not in request.headers
    if not (is_loopback(request.remote_addr or "") and is_loopback(host) and is_own and is_direct):
        raise ApiProblem(
            403,
            "forbidden",
            "the API was opened without tokens, for this machine alone; set COORDINATOR_API_TOKENS",
        )
