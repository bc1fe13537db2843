"""A Redis Cluster behind the calls of a single Redis.

Owns what differs: the one clock, waiting for a failover, and one client for each process.
Invariant: every key of a job lies in one slot (``keys.py``), so each script goes to one node; the
cluster's nodes are asked one by one only where shards are walked. Leaves MOVED, ASK and the map of
slots to redis-py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from redis import exceptions
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import AuthenticationError, ClusterError, RedisClusterException
from redis.retry import Retry

from coordinator.settings import host_and_port, nodes_of
from coordinator.state.pool import Pool
from coordinator.state.reaching import reaching

#: The slot of shard 0: its node's clock is the one that Python compares times by.
CLOCK_KEY = "{0}"
CLOCK = "return redis.call('TIME')"
#: A node that is away, or a failover: worth waiting for.
AWAY = (exceptions.ConnectionError, exceptions.TimeoutError, ClusterError, RedisClusterException)


class Nodes(RedisCluster):
    """redis-py's client, with our errors and our patience."""

    def __init__(self, url: str, retry: Retry, **options: Any) -> None:
        self._reaching = reaching(url)
        self._patience = retry
        first, *others = nodes_of(url)
        known = [ClusterNode(*host_and_port(node)) for node in others]
        # One more try after the map of slots was read anew; the waiting between tries is ours.
        super().__init__(
            url=first,
            startup_nodes=known,
            retry=Retry(NoBackoff(), 1),
            require_full_coverage=False,  # what is served goes on
            connection_pool_class=Pool,
            **options,
        )

    def execute_command(self, *args: Any, **options: Any) -> Any:
        with self._reaching:
            return patiently(self._patience, lambda: super(Nodes, self).execute_command(*args, **options))

    def determine_slot(self, *args: Any) -> int | None:
        # All keys of a script lie in one slot, else the server refuses it: one is enough to look at.
        if args[0] in ("EVALSHA", "EVAL"):
            return self.keyslot(args[3])  # type: ignore[no-any-return]
        return super().determine_slot(*args)  # type: ignore[no-any-return]

    # redis-py sends these as pipelines, which nobody waits with for a failover.

    def exists(self, *names: str) -> int:
        return sum(self.execute_command("EXISTS", name) for name in names)

    def delete(self, *names: str) -> int:
        return sum(self.execute_command("DEL", name) for name in names)

    def pipeline(self, transaction: bool | None = None, shard_hint: Any = None) -> Any:
        pipe = super().pipeline(transaction, shard_hint)
        execute = pipe.execute

        def reached(raise_on_error: bool = True) -> list[Any]:
            with self._reaching:
                return execute(raise_on_error)  # type: ignore[no-any-return]

        pipe.execute = reached
        pipe.time = lambda: pipe.execute_command("EVAL", CLOCK, 1, CLOCK_KEY)
        return pipe

    def time(self) -> tuple[int, int]:
        """Return the clock of shard 0's node, wherever that shard has moved to."""
        seconds, micros = self.eval(CLOCK, 1, CLOCK_KEY)
        return int(seconds), int(micros)


class ClusterClient:
    """The cluster's client of this process: connects when it is first used, and anew in a forked child.

    redis-py's own holds locks that another thread may hold at the fork, for ever in the child.
    """

    def __init__(self, url: str, retry: Retry, **options: Any) -> None:
        self.url = url
        self._connect = lambda: Nodes(url, retry, **options)
        self._retry = retry
        # A parent's client is kept: to end it would close, and lock, what is not the child's.
        self._of: dict[int, Nodes] = {}

    def alone(self) -> ClusterClient:
        """Return a client for one thread: this one, which has a connection to each node in a pool."""
        return self

    def close(self) -> None:
        if nodes := self._of.pop(os.getpid(), None):
            nodes.close()

    def __getattr__(self, name: str) -> Any:
        nodes = self._of.get(os.getpid())
        if nodes is None:
            with reaching(self.url):
                nodes = self._of[os.getpid()] = patiently(self._retry, self._connect)
        return getattr(nodes, name)


def patience(retries: int = 6) -> Retry:
    """Return the pace of tries: at once, then up to 1 s apart, for about 3 s."""
    return Retry(ExponentialBackoff(cap=1.0, base=0.05), retries, supported_errors=AWAY)


def patiently(retry: Retry, call: Callable[[], Any]) -> Any:
    """Call again while the cluster is away; a wrong password is no reason to wait."""
    return retry.call_with_retry(call, _not_for_a_password)


def _not_for_a_password(error: BaseException) -> None:
    cause = error if isinstance(error, AuthenticationError) else error.__cause__
    if isinstance(cause, AuthenticationError):
        raise cause
