"""The connection to Redis, and the Lua scripts that go over it.

Owns the client's retries, the loading of ``lua/*.lua`` and each thread's connection
for scripts. Invariant: every script is safe to repeat, so a call whose answer was lost
is simply made again. redis-py's pool opens new connections in a forked child by itself.
What a Redis Cluster needs beyond that is in ``cluster.py``.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from coordinator.errors import SettingsError
from coordinator.settings import is_cluster
from coordinator.state.cluster import ClusterClient, patience
from coordinator.state.keys import beside
from coordinator.state.pool import Packer, Pool
from coordinator.state.reaching import reaching

CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 10.0
#: Each thread that waits for a job has one: as many as there are threads, where redis-py stops at 100.
MOST_CONNECTIONS = 2**31
#: Put before every script, and before those that say "stream." or "lanes.".
PRELUDES = ("prelude.lua", "stream.lua", "lanes.lua")


class Script:
    """A Lua script; a node that lacks it gets the whole text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, client: Any, keys: Sequence[str], args: Sequence[Any]) -> Any:
        try:
            return client.evalsha(self._sha, len(keys), *keys, *args)
        except NoScriptError:
            return client.eval(self._text, len(keys), *keys, *args)


class Scripts:
    """The Lua scripts, callable by name: ``scripts("begin", keys, args)``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client: Any = connect(url)  # redis-py's own types allow for answers that this client never gives
        self._local = threading.local()
        folder = resources.files("coordinator.state") / "lua"
        preludes = {name: (folder / name).read_text() for name in PRELUDES}
        self._scripts = {
            path.name.removesuffix(".lua"): Script(_whole(path.read_text(), preludes))
            for path in folder.iterdir()
            if path.name.endswith(".lua") and path.name not in PRELUDES
        }

    def __call__(self, name: str, keys: list[str], args: list[Any]) -> list[Any]:
        """Run a script and return its words; a single word comes in a list of one.

        Raises:
            StateUnreachable: Redis did not answer, after the client's own retries.
        """
        script, keys = self._scripts[name], [*keys, *beside(keys)]
        try:
            answer = _text(self.keeping(script, keys, args))
        except UnicodeEncodeError:  # lone surrogates, as the names of files may have
            answer = _text(self.keeping(script, keys, [escaped(arg) for arg in args]))
        return answer if isinstance(answer, list) else [answer]

    def keeping(self, call: Callable[..., Any], *args: Any) -> Any:
        """Call with a client that keeps its connection, one a thread: borrowing takes a third of a call.

        It is put back only after an answer: where a signal has ended a call, it is closed, or the next
        call would read that one's answer.
        """
        pid, client = self._local.__dict__.pop("kept", (0, None))
        if pid != os.getpid():  # the first call, or a forked child's
            pid, client = os.getpid(), self.client.alone()
        answer = call(client, *args)
        self._local.kept = pid, client
        return answer


class Client(redis.Redis):
    """redis-py's client, with our errors: reads have no script around them that would turn them."""

    url = ""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        with reaching(self.url):
            return super().execute_command(*args, **options)

    def alone(self) -> Client:
        """Return a client with a connection to itself, closed when it is let go of."""
        pool = Pool(self.connection_pool.connection_class, **self.connection_pool.connection_kwargs)
        with reaching(self.url):
            client = Client(connection_pool=pool, single_connection_client=True)
        client.auto_close_connection_pool = True
        client.url = self.url
        return client


def connect(url: str) -> Client | ClusterClient:
    """Return a client that retries on its own: at once, then up to 1 s apart, for about 3 s."""
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": ANSWER_TIMEOUT_S,
        "max_connections": MOST_CONNECTIONS,
        "command_packer": Packer(),
    }
    if is_cluster(url):
        return ClusterClient(url, patience(), **options)
    if not url:
        raise SettingsError(
            "REDIS_URL: expected the URL of the Redis that keeps the jobs, found none; set it and BROKER_URL "
            "(the command line starts a private server where both are unset, a program of your own does not)"
        )
    pool = Pool.from_url(
        url,
        **options,
        health_check_interval=25,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), 6),
        retry_on_error=[redis.exceptions.ConnectionError, redis.exceptions.TimeoutError],
    )
    client: Client = Client.from_pool(pool)
    client.url = url
    return client


def escaped(value: Any) -> Any:
    """Return text without what is no UTF-8; anything else as it is."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _whole(text: str, preludes: dict[str, str]) -> str:
    """Put the preludes before a script; those that make a table do it only where a script comes to use it."""
    parts = [preludes["prelude.lua"]]
    for file in PRELUDES[1:]:
        name = file.removesuffix(".lua")
        if f"{name}." in text:
            parts.append(_LAZY.format(name=name, text=preludes[file]))
    return "".join([*parts, text])


_LAZY = (
    "local {name} = setmetatable({{}}, {{__index = function(self, wanted) "
    "local made = (function() {text} return {name} end)() setmetatable(self, {{__index = made}}) "
    "return made[wanted] end}})\n"
)


def _text(answer: Any) -> Any:
    """Decode an answer's words; a compressed plan stays bytes."""
    if isinstance(answer, list):
        return [_text(part) for part in answer]
    if isinstance(answer, bytes):
        try:
            return answer.decode()
        except UnicodeDecodeError:
            return answer
    return answer
