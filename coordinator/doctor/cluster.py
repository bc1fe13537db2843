"""Check a Redis Cluster: that all slots are served, and that no node is the only one of its kind.

Owns the finding about the cluster as a whole, and what many nodes' findings come to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from coordinator.counted import counted
from coordinator.doctor.connection import once
from coordinator.doctor.finding import ERROR, OK, WARN, Finding, judged
from coordinator.reach import unreachable
from coordinator.settings import nodes_of

_BADNESS = (OK, WARN, ERROR)


def look(url: str) -> tuple[list[str], Finding]:
    """Return the URLs of a cluster's primaries that serve slots, and how the cluster is.

    Raises:
        OSError, RedisError: no node of it can be asked.
    """
    named = nodes_of(url)
    asked = next((node for node in named if not unreachable(node)), named[0])
    with once(asked) as client:
        state = client.cluster("info").get("cluster_state", "")
        nodes: dict[str, dict[str, Any]] = client.cluster("nodes")
    primaries = {
        node["node_id"]: place
        for place, node in nodes.items()
        if node["slots"] and "fail" not in node["flags"]
    }
    kept_twice = {node["master_id"] for node in nodes.values() if "fail" not in node["flags"]}
    alone = [place for id_, place in primaries.items() if id_ not in kept_twice]
    found = f"{state}, {counted(len(primaries), 'primary', 'primaries')}"
    if state != "ok":
        advice = "`redis-cli cluster nodes` names the node that is away; jobs wait until its slots are served"
        return list(_urls(asked, primaries.values())), Finding("cluster", ERROR, found, advice)
    return list(_urls(asked, primaries.values())), judged(
        "cluster",
        f"{found}, {len(alone)} of them without a replica" if alone else found,
        "give each primary a replica: without one, the jobs of a node that dies wait until it is back",
        fault=WARN if alone else "",
    )


def worst(found_on: Mapping[str, list[Finding]]) -> list[Finding]:
    """Return of each check the worst finding, with the node where there are several."""
    found = []
    for nodes in zip(*found_on.values(), strict=True):
        level = max((finding.level for finding in nodes), key=_BADNESS.index)
        at = [node for node, finding in zip(found_on, nodes, strict=True) if finding.level == level]
        first = next(finding for finding in nodes if finding.level == level)
        where = "" if len(found_on) == 1 or level == OK else f" ({_place(at[0])})"
        found.append(Finding(first.name, first.level, first.found + where, first.advice))
    return found


def _urls(asked: str, places: Any) -> Any:
    parts = urlsplit(asked)
    userinfo, at, _ = parts.netloc.rpartition("@")
    for place in sorted(places):
        yield urlunsplit(parts._replace(netloc=f"{userinfo}{at}{place.partition('@')[0]}"))


def _place(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
