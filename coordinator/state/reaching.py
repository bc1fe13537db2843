"""Turn the client's errors into ours: what could not be reached or used, and what to do."""

from __future__ import annotations

from redis.exceptions import (
    AuthenticationError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    RedisClusterException,
    RedisError,
)

from coordinator.errors import StateUnreachable
from coordinator.settings import redacted


class reaching:  # noqa: N801 - a context manager, read as a word
    """Turn redis-py's errors into ``StateUnreachable``, with what to do."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if not isinstance(error, RedisError | RedisClusterException) or isinstance(error, NoScriptError):
            return  # without a script: it is loaded, and called again
        where = f"Redis at {redacted(self.url)}"
        if isinstance(error, AuthenticationError):
            said = f"{where} refused the password; check user and password in REDIS_URL"
        elif isinstance(error, OutOfMemoryError):
            said = (
                f"{where} is out of memory and refuses writes; raise its maxmemory, "
                "or keep finished jobs for less long (COORDINATOR_RETENTION_S)"
            )
        elif isinstance(error, MovedError):
            said = f"{where} is a node of a Redis Cluster; begin REDIS_URL with redis+cluster://"
        else:
            said = f"{where} can't be used: {error}; is it running, and REDIS_URL right?"
        raise StateUnreachable(said) from error
