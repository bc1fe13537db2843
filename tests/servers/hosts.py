"""Hosts on one machine: network namespaces, joined by cables that can be cut.

Linux, and root, only. A thread that is *inside* a host opens its sockets and starts its
processes there; addresses are those that are set aside for documentation (TEST-NET).
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000
NAMES = Path("/run/netns")


class NoHosts(Exception):
    """Namespaces are not to be had here; the message says why."""


class Host:
    """One host: a namespace with a loopback of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        _ip("netns", "add", name)
        self.run("link", "set", "lo", "up")

    def run(self, *words: str) -> None:
        """Run ``ip`` on this host."""
        _ip("-n", self.name, *words)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let this thread be on the host: its sockets, and the processes that it starts."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/proc/thread-self/ns/net").open() as outside, (NAMES / self.name).open() as there:
            _enter(libc, there.fileno())
            try:
                yield
            finally:
                _enter(libc, outside.fileno())

    def remove(self) -> None:
        _ip("netns", "del", self.name)


class Cable:
    """A link between two hosts, each with its address."""

    def __init__(self, one: Host, address: str, other: Host, other_address: str) -> None:
        self._one = one
        self._end = f"b{secrets.token_hex(4)}"
        other_end = f"c{secrets.token_hex(4)}"
        _ip(
            "link",
            "add",
            self._end,
            "netns",
            one.name,
            "type",
            "veth",
            "peer",
            "name",
            other_end,
            "netns",
            other.name,
        )
        for host, end, own in ((one, self._end, address), (other, other_end, other_address)):
            host.run("addr", "add", f"{own}/30", "dev", end)
            host.run("link", "set", end, "up")

    def cut(self) -> None:
        """Cut it: nothing arrives, and nobody is told."""
        self._one.run("link", "set", self._end, "down")

    def heal(self) -> None:
        self._one.run("link", "set", self._end, "up")


class Hosts:
    """Makes hosts, and removes them all."""

    def __init__(self) -> None:
        if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
            raise NoHosts("network namespaces need Linux, root and iproute2")
        self._made: list[Host] = []
        self._mark = f"batuta-{secrets.token_hex(3)}"

    def make(self, name: str) -> Host:
        """Make a host.

        Raises:
            NoHosts: this machine (a container, mostly) allows no namespaces.
        """
        try:
            host = Host(f"{self._mark}-{name}")
        except subprocess.CalledProcessError as error:
            raise NoHosts(f"network namespaces are not allowed here: {error.stderr.strip()}") from error
        self._made.append(host)
        return host

    def remove(self) -> None:
        for host in self._made:
            host.remove()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def _enter(libc: ctypes.CDLL, namespace: int) -> None:
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
