"""The kind ``proof_of_work``: lanes look for a nonce side by side, and the first to find one wins."""

from __future__ import annotations

import hashlib
from typing import Any

from celery import chain
from pydantic import BaseModel, Field

from coordinator import job, race
from coordinator.app import app

#: Hashes between two looks at whether another lane has won.
ASK_EVERY = 2000


class ProofOfWork(BaseModel):
    """Parameters of ``proof_of_work``."""

    text: str = Field(description="what the nonce is for")
    zeros: int = Field(
        default=16, ge=1, le=40, description="bits of the hash that must be zero, from the left"
    )
    lanes: int = Field(
        default=4, ge=1, le=64, description="how many steps look, each in its own range of nonces"
    )
    size: int = Field(default=10_000_000, ge=1, description="nonces in the range of a lane")


def zero_bits(text: str, nonce: int) -> int:
    """Return how many bits of the sha256 of text and nonce are zero, from the left."""
    number = int.from_bytes(hashlib.sha256(f"{text}:{nonce}".encode()).digest())
    return 256 - number.bit_length()


@app.task(bind=True)
def search(self: Any, text: str, zeros: int, start: int, size: int) -> int | None:
    """Return the first nonce of a range that will do; stop when another lane has won."""
    for nonce in range(start, start + size):
        if zero_bits(text, nonce) >= zeros:
            return nonce
        if nonce % ASK_EVERY == 0 and self.cancelled:
            return None  # it is refused: the race is over
    raise LookupError(f"no nonce from {start} to {start + size} gives {zeros} zero bits")


@app.task
def proven(nonce: int, text: str) -> dict[str, Any]:
    digest = hashlib.sha256(f"{text}:{nonce}".encode()).hexdigest()
    return {"nonce": nonce, "hash": digest, "zeros": zero_bits(text, nonce)}


@job("proof_of_work", params=ProofOfWork)
def proof_of_work(p: ProofOfWork) -> Any:
    """Find a number that, hashed together with a text, gives a hash that begins with zeros."""
    lanes = [search.s(p.text, p.zeros, number * p.size, p.size) for number in range(p.lanes)]
    return chain(race(*lanes), proven.s(p.text))
