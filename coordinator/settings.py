"""Settings from the environment: read once, validated at start, all faults told together.

Pure: it looks at a mapping and never connects. What each variable does is said
in ``Settings``; ``docs/reference`` is made from it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from coordinator.errors import SettingsError

BROKER_SCHEMES = ("amqp", "amqps", "pyamqp", "redis", "rediss")
CLUSTER_SCHEMES = ("redis+cluster", "rediss+cluster")
STATE_SCHEMES = ("redis", "rediss", *CLUSTER_SCHEMES)
#: An option of a URL that names a secret, up to its value.
_SECRET_OPTION = re.compile(r"([?&][^=&]*pass[^=&]*=)[^&]*", re.IGNORECASE)
#: An environment variable, and what makes a field of its text or raises ValueError.
Variable = tuple[str, Callable[[str], object]]


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the parts are, and the few numbers that steer them."""

    broker_url: str = ""  # BROKER_URL; empty means embedded
    redis_url: str = ""  # REDIS_URL: a Redis, or a cluster; empty means embedded
    jobs: tuple[str, ...] = ("tasks",)  # COORDINATOR_JOBS: modules that register kinds
    queue: str = "batuta"  # COORDINATOR_QUEUE: where steps go unless told otherwise
    queue_type: str = "classic"  # COORDINATOR_QUEUE_TYPE: classic or quorum (RabbitMQ)
    prefix: str = "batuta"  # COORDINATOR_PREFIX: the first word of every Redis key
    lease_s: float = 10.0  # COORDINATOR_LEASE_S: how long a dead worker keeps a step
    tick_s: float = 1.0  # COORDINATOR_TICK_S: the reconciler's pace
    quiet_s: float = 5.0  # COORDINATOR_QUIET_S: a job this quiet is looked at for lost messages
    grace_s: float = 10.0  # COORDINATOR_GRACE_S: from a cancel to the end of a running step's process
    max_attempts: int = 5  # COORDINATOR_MAX_ATTEMPTS: times that a step may kill its process
    retention_s: int = 7 * 86400  # COORDINATOR_RETENTION_S: how long a finished job is kept
    result_limit_bytes: int = 262_144  # COORDINATOR_RESULT_LIMIT_BYTES: larger results go by reference
    blob_url: str = ""  # COORDINATOR_BLOB_URL: fsspec folder, shared by all hosts, for those results

    @property
    def is_embedded(self) -> bool:
        return not self.broker_url

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the environment.

        Raises:
            SettingsError: naming every variable that can't be used, all at once.
        """
        env = os.environ if env is None else env
        values, faults = read_variables(env, _VARIABLES)
        faults += _pair_faults(values)
        if faults:
            raise SettingsError("; ".join(faults))
        return cls(**values)  # type: ignore[arg-type]


def read_variables(
    env: Mapping[str, str], variables: Mapping[str, Variable], *, are_secret: bool = False
) -> tuple[dict[str, object], list[str]]:
    """Return the values of the variables that are set, by field, and a sentence for each that can't be used.

    Args:
        env: the environment.
        variables: by field.
        are_secret: the sentences say of the text only what the reader's error says.
    """
    faults: list[str] = []
    values: dict[str, object] = {}
    for name, (variable, read) in variables.items():
        text = env.get(variable, "").strip()
        if text:
            try:
                values[name] = read(text)
            except ValueError as error:
                found = "" if are_secret else f", got {_hidden(text)!r}"
                faults.append(f"{variable}: {error}{found}")
    return values, faults


def words(text: str) -> tuple[str, ...]:
    """Return what stands between commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def redacted(url: str) -> str:
    """Return ``url`` without its password, for messages and logs."""
    return _hidden(url)


def is_cluster(url: str) -> bool:
    """Whether a URL leads to a Redis Cluster."""
    return url.partition("://")[0] in CLUSTER_SCHEMES


def nodes_of(url: str) -> list[str]:
    """Return a plain URL for each node that a cluster's URL names; of any other URL, itself."""
    if not is_cluster(url):
        return [url]
    scheme, _, rest = url.partition("://")
    netloc = re.split("[/?#]", rest, maxsplit=1)[0]
    tail = rest[len(netloc) :]
    userinfo, at, hosts = netloc.rpartition("@")
    return [f"{scheme.removesuffix('+cluster')}://{userinfo}{at}{host}{tail}" for host in hosts.split(",")]


def host_and_port(url: str, port: int = 6379) -> tuple[str, int]:
    """Return where a URL leads.

    Raises:
        ValueError: its port is no number.
    """
    parts = urlsplit(url)
    return parts.hostname or "localhost", parts.port or port


def _pair_faults(values: Mapping[str, object]) -> list[str]:
    broker, state = values.get("broker_url"), values.get("redis_url")
    if broker and not state:
        return ["REDIS_URL: expected a redis:// URL beside BROKER_URL, found none; set both or neither"]
    if state and not broker:
        return ["BROKER_URL: expected an amqp:// URL beside REDIS_URL, found none; set both or neither"]
    return []


def _hidden(text: str) -> str:
    text = _SECRET_OPTION.sub(r"\1***", text)
    before, at, host = text.rpartition("@")
    if not at:
        return text
    scheme, mark, userinfo = before.partition("://")
    if not mark:
        return f"***@{host}"  # no URL: nobody knows where its password begins
    return f"{scheme}://{userinfo.partition(':')[0]}:***@{host}"


def _url(*schemes: str, places: Callable[[str], list[str]]) -> Callable[[str], str]:
    def read(text: str) -> str:
        try:
            scheme, _, _ = text.partition("://")
            for place in places(text):
                host_and_port(place)
        except ValueError:  # its words may quote the password
            raise ValueError(
                "expected a URL with a number as its port; / ? # [ ] in a password are written %2F %3F …"
            ) from None
        if scheme not in schemes:
            raise ValueError("expected a URL that starts with " + " or ".join(f"{s}://" for s in schemes))
        return text

    return read


def _brokers(text: str) -> list[str]:
    return text.split(";")  # as kombu reads several


def _state_url(text: str) -> str:
    url = _url(*STATE_SCHEMES, places=nodes_of)(text)
    if is_cluster(url):
        for node in nodes_of(url):
            if urlsplit(node).path.strip("/") not in ("", "0"):
                raise ValueError("expected no database, or 0: a Redis Cluster has no other")
    return url


def _prefix(text: str) -> str:
    if "{" in text or "}" in text:  # a second pair would be taken for the shard, in a cluster and by us
        raise ValueError("expected text without { and }, between which a key names its shard")
    return text


def _number(kind: type, least: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise ValueError(f"expected a number of at least {least:g}") from None
        if not least <= value < math.inf:
            raise ValueError(f"expected a number of at least {least:g}")
        return value  # type: ignore[no-any-return]

    return read


def _choice(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError("expected " + " or ".join(words))
        return text

    return read


_VARIABLES: dict[str, Variable] = {
    "broker_url": ("BROKER_URL", _url(*BROKER_SCHEMES, places=_brokers)),
    "redis_url": ("REDIS_URL", _state_url),
    "jobs": ("COORDINATOR_JOBS", words),
    "queue": ("COORDINATOR_QUEUE", str),
    "queue_type": ("COORDINATOR_QUEUE_TYPE", _choice("classic", "quorum")),
    "prefix": ("COORDINATOR_PREFIX", _prefix),
    "lease_s": ("COORDINATOR_LEASE_S", _number(float, 1)),
    "tick_s": ("COORDINATOR_TICK_S", _number(float, 0.1)),
    "quiet_s": ("COORDINATOR_QUIET_S", _number(float, 0.5)),
    "grace_s": ("COORDINATOR_GRACE_S", _number(float, 0.1)),
    "max_attempts": ("COORDINATOR_MAX_ATTEMPTS", _number(int, 1)),
    "retention_s": ("COORDINATOR_RETENTION_S", _number(int, 60)),
    "result_limit_bytes": ("COORDINATOR_RESULT_LIMIT_BYTES", _number(int, 1024)),
    "blob_url": ("COORDINATOR_BLOB_URL", str),
}
