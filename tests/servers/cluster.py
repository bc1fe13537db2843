"""A private Redis Cluster: three primaries, with a replica each where a test takes one away."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import redis

from tests.servers.certificates import Certificates
from tests.servers.process import free_port
from tests.servers.redis import Redis
from tests.waiting import wait_until

SLOTS = 16384
PRIMARIES = 3


class ClusterNode(Redis):
    """One node."""

    def __init__(self, home: Path, password: str, timeout_ms: int, tls: Certificates | None = None) -> None:
        super().__init__(home)
        self.tls = tls
        self.tls_port = free_port() if tls else 0
        self.timeout_ms = timeout_ms
        self.password = password
        self.bus_port = free_port()

    def settings(self) -> dict[str, object]:
        return {
            **super().settings(),
            "cluster-enabled": "yes",
            "cluster-port": self.bus_port,
            "cluster-node-timeout": self.timeout_ms,
            "masterauth": self.password,
            "databases": 1,
            **({"tls-cluster": "yes", **self.tls.redis_settings(self.tls_port)} if self.tls else {}),
        }

    def ask(self, *command: object) -> Any:
        with redis.Redis.from_url(self.url()) as client:
            return client.execute_command(*command)


class RedisCluster:
    """Three primaries that share the slots."""

    def __init__(self, home: Path, *, with_replicas: bool = False, tls: Certificates | None = None) -> None:
        password = secrets.token_hex(16)
        count = PRIMARIES * (2 if with_replicas else 1)
        # A failover takes about twice the timeout. Where there is none to be had, a busy machine is no fault.
        timeout_ms = 2000 if with_replicas else 15_000
        homes = [home / f"node-{number}" for number in range(count)]
        self.nodes = [ClusterNode(node, password, timeout_ms, tls) for node in homes]

    def url(self, db: int = 0) -> str:
        """Return a URL that names two of the nodes: the client finds the others."""
        first, second = self.nodes[:2]
        address = f"{first.address}:{first.port},{second.address}:{second.port}"
        return f"redis+cluster://:{first.password}@{address}/0"

    def tls_url(self, ca: Path) -> str:
        """Return a URL by which all nodes are spoken to in TLS, trusting one authority."""
        first, second = self.nodes[:2]
        places = f"localhost:{first.tls_port},localhost:{second.tls_port}"
        return f"rediss+cluster://:{first.password}@{places}/0?ssl_cert_reqs=required&ssl_ca_certs={ca}"

    def launch(self) -> None:
        for node in self.nodes:
            node.launch()

    def wait_ready(self) -> None:
        """Wait until all slots are served, having shared them out the first time."""
        for node in self.nodes:
            node.wait_ready()
        if self.nodes[0].ask("CLUSTER INFO")["cluster_slots_assigned"] == "0":
            self._share_out()
        wait_until(self._is_whole, what="the cluster's slots to be served")

    def start(self) -> None:
        self.launch()
        self.wait_ready()

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def owner(self, key: str, asked: ClusterNode | None = None) -> ClusterNode:
        """Return the primary that serves a key now, as one node knows it."""
        asked = asked or self.nodes[0]
        slot = asked.ask("CLUSTER KEYSLOT", key)
        slots = asked.ask("CLUSTER SLOTS")
        port = next(primary[1] for first, last, primary, *_ in slots if first <= slot <= last)
        return next(node for node in self.nodes if node.port == port)

    def begin_move(self, key: str) -> Callable[[], None]:
        """Move half of the keys of a key's slot away, as resharding does; returns what moves the rest."""
        source = self.owner(key)
        target = next(node for node in self.nodes[:PRIMARIES] if node is not source)
        slot = source.ask("CLUSTER KEYSLOT", key)
        left, right = (node.ask("CLUSTER MYID").decode() for node in (source, target))
        to = (target.address, target.port, "", 0, 5000, "AUTH", target.password, "KEYS")
        target.ask("CLUSTER SETSLOT", slot, "IMPORTING", left)
        source.ask("CLUSTER SETSLOT", slot, "MIGRATING", right)
        keys = source.ask("CLUSTER GETKEYSINSLOT", slot, 1000)
        source.ask("MIGRATE", *to, *keys[: len(keys) // 2])

        def end() -> None:
            while keys := source.ask("CLUSTER GETKEYSINSLOT", slot, 1000):
                source.ask("MIGRATE", *to, *keys)
            for node in (target, source, *self.nodes):
                node.ask("CLUSTER SETSLOT", slot, "NODE", right)

        return end

    def replica_of(self, primary: ClusterNode) -> ClusterNode:
        replicas = self.nodes[PRIMARIES:]
        return next(node for node in replicas if node.ask("ROLE")[2] == primary.port)

    def _share_out(self) -> None:
        primaries, replicas = self.nodes[:PRIMARIES], self.nodes[PRIMARIES:]
        for number, node in enumerate(primaries):
            first, end = (SLOTS * n // PRIMARIES for n in (number, number + 1))
            node.ask("CLUSTER SET-CONFIG-EPOCH", number + 1)
            node.ask("CLUSTER ADDSLOTSRANGE", first, end - 1)
        for node in self.nodes[1:]:
            node.ask("CLUSTER MEET", node.address, self.nodes[0].port, self.nodes[0].bus_port)
        for primary, replica in zip(primaries, replicas, strict=False):
            id_ = primary.ask("CLUSTER MYID").decode()
            wait_until(partial(_is_known_to, replica, id_), what="a replica to know its primary")
            replica.ask("CLUSTER REPLICATE", id_)

    def _is_whole(self) -> bool:
        infos = [node.ask("CLUSTER INFO") for node in self.nodes]
        roles = [node.ask("ROLE") for node in self.nodes]
        # One that has never caught up is no candidate when its primary dies.
        replicas = sum(role[0] == b"slave" and role[3] == b"connected" for role in roles)
        return replicas == len(self.nodes) - PRIMARIES and all(
            info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(len(self.nodes))
            for info in infos
        )


def _is_known_to(node: ClusterNode, id_: str) -> bool:
    return any(known["node_id"] == id_ for known in node.ask("CLUSTER NODES").values())
