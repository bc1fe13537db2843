"""Count every Redis call, publish and ack of a process, and end it (SIGKILL) before or after the n-th.

A worker imports this module through COORDINATOR_JOBS; what to count and where to
kill stands on a *board*: a small file that the test and all processes map. A kill
happens once: whoever fires takes the order off the board. Counted are the calls of
``ROLE``: ``child`` (a pool's child), ``worker`` (its children, and its own acks;
the whole process group dies), ``submitter`` (any call of the process) or
``reconciler`` (what the worker's reconciler does while it repairs).
"""

from __future__ import annotations

import fcntl
import functools
import mmap
import os
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BOARD_VARIABLE, ROLE_VARIABLE = "CRASH_BOARD", "CRASH_ROLE"
BEFORE, AFTER = 0, 1
_FORM = struct.Struct("qqqq")  # armed point (0: none), BEFORE or AFTER, calls so far, kills so far


class Board:
    """The shared file: set by the test, counted on by the processes."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if create:
            path.write_bytes(_FORM.pack(0, 0, 0, 0))
        self._path = path
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _FORM.size)

    @contextmanager
    def _fields(self) -> Iterator[list[int]]:
        with self._path.open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            fields = list(_FORM.unpack(self._map[:]))
            yield fields
            self._map[:] = _FORM.pack(*fields)

    def arm(self, point: int, when: int) -> None:
        """Start counting from 1, and order a kill at the n-th call (0: none)."""
        with self._fields() as fields:
            fields[:] = [point, when, 0, 0]

    @property
    def calls(self) -> int:
        return _FORM.unpack(self._map[:])[2]

    @property
    def kills(self) -> int:
        return _FORM.unpack(self._map[:])[3]

    def count(self) -> tuple[bool, bool]:
        """Count a call; return whether to die before it and after it."""
        with self._fields() as fields:
            fields[2] += 1
            hit = fields[0] != 0 and fields[2] == fields[0] and fields[3] == 0
            if hit:
                fields[3] = 1
            return hit and fields[1] == BEFORE, hit and fields[1] == AFTER


def install(board: Board, role: str) -> None:
    """Patch what talks to Redis and to the broker."""
    import amqp
    import redis
    from celery.signals import worker_process_init

    counted = _Counted(board, role)
    worker_process_init.connect(lambda **_: counted.enter_child(), weak=False)
    counted.patch(redis.Redis, "execute_command")
    counted.patch(redis.client.Pipeline, "execute")
    counted.patch(amqp.Channel, "_basic_publish")
    amqp.Channel.basic_publish = amqp.Channel._basic_publish
    counted.patch(amqp.Channel, "basic_ack", is_ack=True)
    counted.patch(amqp.Channel, "basic_reject", is_ack=True)
    from coordinator import dispatcher, outbox

    counted.patch(dispatcher._Line, "confirm")
    if role == "reconciler":
        counted.scope(outbox.Outbox, "send_again")


class _Counted:
    """Wraps methods so that their calls are counted where they belong to the role."""

    def __init__(self, board: Board, role: str) -> None:
        self._board = board
        self._role = role
        self._is_child = False
        self._depth = threading.local()

    def enter_child(self) -> None:
        self._is_child = True

    def patch(self, owner: type, name: str, *, is_ack: bool = False) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(original)
        def counted(*args: Any, **kwargs: Any) -> Any:
            if not self._counts(is_ack):
                return original(*args, **kwargs)
            before, after = self._board.count()
            if before:
                self._die()
            self._depth.inside = True  # a call within a call is one call
            try:
                return original(*args, **kwargs)
            finally:
                self._depth.inside = False
                if after:
                    self._die()

        setattr(owner, name, counted)

    def scope(self, owner: type, name: str) -> None:
        """Count only within this method."""
        original: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(original)
        def scoped(*args: Any, **kwargs: Any) -> Any:
            self._depth.scoped = True
            try:
                return original(*args, **kwargs)
            finally:
                self._depth.scoped = False

        setattr(owner, name, scoped)

    def _counts(self, is_ack: bool) -> bool:
        if getattr(self._depth, "inside", False):
            return False
        if self._role == "child":
            return self._is_child
        if self._role == "worker":
            return self._is_child or is_ack
        if self._role == "reconciler":
            return getattr(self._depth, "scoped", False)
        return True

    def _die(self) -> None:
        if self._role in ("worker", "reconciler"):
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


if os.environ.get(BOARD_VARIABLE):
    install(Board(Path(os.environ[BOARD_VARIABLE])), os.environ[ROLE_VARIABLE])
