"""Values too large for Redis, kept as files that every host can reach, through fsspec.

Owns the folder ``COORDINATOR_BLOB_URL``. Invariant: a blob's name is the hash
of its content, so writing it again changes nothing, also for whoever reads it at
that moment or if the writer is killed. Jobs share blobs: deleting old ones is left
to the store's own rules.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from kombu.utils.json import loads

from coordinator.errors import BatutaError, StepTooLarge
from coordinator.settings import Settings, redacted


def store(settings: Settings, text: str, what: str) -> str:
    """Store JSON text and return the URL that ``fetch`` takes.

    Raises:
        StepTooLarge: there is no folder for blobs, or it can't be written.
    """
    size = len(text)
    if not settings.blob_url:
        raise StepTooLarge(
            f"{what} is {size:,} bytes, over the limit of {settings.result_limit_bytes:,} "
            "(COORDINATOR_RESULT_LIMIT_BYTES); return less, or set COORDINATOR_BLOB_URL to a folder "
            "that all hosts share"
        )
    content = text.encode()
    url = f"{settings.blob_url.rstrip('/')}/{hashlib.sha256(content).hexdigest()}.json"
    try:
        _write(url, content)
    except (OSError, ValueError, ImportError) as error:
        raise StepTooLarge(f"{what} can't be stored under COORDINATOR_BLOB_URL: {error}") from error
    return url


def _write(url: str, content: bytes) -> None:
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    fs, _ = fsspec.url_to_fs(url)
    # Object stores put a file as a whole; on a disk it could be seen, or left, half written.
    is_local = isinstance(fs, LocalFileSystem)
    place = f"{url}.{secrets.token_hex(4)}" if is_local else url
    with fsspec.open(place, "wb", auto_mkdir=True) as file:
        file.write(content)
    if is_local:
        fs.mv(place, url)


def fetch(url: str) -> Any:
    """Return the value that ``store`` wrote.

    Raises:
        BatutaError: it can't be read any more.
    """
    import fsspec

    try:
        with fsspec.open(url, "rb") as file:
            return loads(file.read())
    except (OSError, ValueError, ImportError) as error:
        raise BatutaError(
            f"a value that was stored at {redacted(url)} can't be read: {error}; the folder of "
            "COORDINATOR_BLOB_URL must be there on every host, and keep what it has as long as jobs are kept"
        ) from error
