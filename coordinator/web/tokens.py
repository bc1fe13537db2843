"""Bearer tokens: who is asking, and what they may do. Pure.

Owns their form: ``name:scope+scope:sha256hex``. Invariant: what is kept is the
hash of a token, never the token; a token is 256 random bits, so that its hash
can't be guessed back. Comparing takes the same time whatever is given.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

SCOPES = ("read", "submit", "steer")
#: Starts every token, so that those who scan for leaked secrets can find it.
MARK = "batuta_"

_ENTRY = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,64}):(?P<scopes>[a-z+]+):(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Token:
    """One that may use the interface."""

    name: str
    scopes: frozenset[str]
    digest: str  # sha256 of the token, hex

    @property
    def entry(self) -> str:
        """The token's place in COORDINATOR_API_TOKENS."""
        return f"{self.name}:{'+'.join(s for s in SCOPES if s in self.scopes)}:{self.digest}"


def new_token(name: str, scopes: Iterable[str]) -> tuple[str, Token]:
    """Return a new secret, which is kept nowhere, and what is kept of it."""
    secret = MARK + secrets.token_urlsafe(32)
    token = Token(name, frozenset(scopes), _digest(secret))
    read_tokens(token.entry)
    return secret, token


def read_tokens(text: str) -> tuple[Token, ...]:
    """Read COORDINATOR_API_TOKENS.

    Raises:
        ValueError: an entry can't be used; it is named by its place, for it may hold a secret.
    """
    tokens: list[Token] = []
    for place, entry in enumerate(re.split(r"[\s,]+", text.strip()), start=1):
        match = _ENTRY.fullmatch(entry)
        scopes = frozenset(match["scopes"].split("+")) if match else frozenset()
        if match is None or not scopes <= set(SCOPES):
            raise ValueError(
                f"expected entry {place} to be name:scopes:sha256 with scopes of {', '.join(SCOPES)} "
                "joined by +; make one with `manage.py api-token NAME`"
            )
        if match["name"] in {token.name for token in tokens}:
            raise ValueError(f"expected each name once, got {match['name']!r} twice")
        tokens.append(Token(match["name"], scopes, match["digest"]))
    return tuple(tokens)


def token_of(secret: str, tokens: Iterable[Token]) -> Token | None:
    """Return the token whose secret was given; looks at all of them, whichever it is."""
    given = _digest(secret)
    found = None
    for token in tokens:
        if hmac.compare_digest(token.digest, given):
            found = token
    return found


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
