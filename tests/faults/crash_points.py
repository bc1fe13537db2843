"""Count every Redis call, publish and ack of a process, and end it (SIGKILL) before or after the n-th.

A worker imports this module through COORDINATOR_JOBS; what to count, whose calls and where to
kill stands on a *board*: a small file that the test and all processes map. A kill happens once:
whoever fires takes the order off the board. Counted are the calls of the *victim*: ``child`` (a
pool's child), ``worker`` (its children, and its own acks; the whole process group dies),
``submitter`` (any call of a process that submits) or ``reconciler`` (what the worker's reconciler
does while it repairs). For that one all that a step or a submit should send is left in the
outbox, so that each message of a job is a repair.
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

BOARD_VARIABLE = "CRASH_BOARD"
VICTIMS = ("child", "worker", "submitter", "reconciler")
BEFORE, AFTER = 0, 1
OFF = -1  # nothing is counted
#: Point (0: none, OFF), BEFORE or AFTER, calls and kills so far, victim, runs of what was recorded.
_FORM = struct.Struct("qqqqqq")


class Board:
    """The shared file: set by the test, counted on by the processes."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if create:
            path.write_bytes(_FORM.pack(*[0] * 6))
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

    def arm(self, point: int, when: int, victim: str) -> None:
        """Start counting from 1, and order a kill at the victim's n-th call (0: none)."""
        with self._fields() as fields:
            fields[:] = [point, when, 0, 0, VICTIMS.index(victim), 0]

    def disarm(self) -> None:
        """Take the order off, and count no more."""
        with self._fields() as fields:
            fields[0] = OFF

    @property
    def is_armed(self) -> bool:
        return _FORM.unpack(self._map[:])[0] > 0

    @property
    def calls(self) -> int:
        return _FORM.unpack(self._map[:])[2]

    @property
    def kills(self) -> int:
        return _FORM.unpack(self._map[:])[3]

    @property
    def victim(self) -> str:
        return VICTIMS[_FORM.unpack(self._map[:])[4]]

    @property
    def late_runs(self) -> int:
        """How often a step's code began to run when its result was recorded already."""
        return _FORM.unpack(self._map[:])[5]

    def note_late_run(self) -> None:
        with self._fields() as fields:
            fields[5] += 1

    def count(self) -> tuple[bool, bool]:
        """Count a call; return whether to die before it and after it."""
        with self._fields() as fields:
            if fields[0] == OFF:
                return False, False
            fields[2] += 1
            hit = fields[0] > 0 and fields[2] == fields[0] and fields[3] == 0
            if hit:
                fields[3] = 1
            return hit and fields[1] == BEFORE, hit and fields[1] == AFTER


class Counter:
    """Wraps methods so that their calls are counted where they are the victim's."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.process = "worker"  # or child, or submitter: what this process is
        self._thread = threading.local()

    def patch(self, owner: type, name: str, *, is_ack: bool = False) -> None:
        """Count the calls of a method, and die before or after one where the board says so."""
        original: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(original)
        def counted(*args: Any, **kwargs: Any) -> Any:
            if not self._counts(is_ack):
                return original(*args, **kwargs)
            before, after = self._board.count()
            if before:
                self._die()
            self._thread.inside = True  # a call within a call is one call
            try:
                return original(*args, **kwargs)
            finally:
                self._thread.inside = False
                if after:
                    self._die()

        setattr(owner, name, counted)

    def scope(self, owner: type, name: str) -> None:
        """Call what this method does a repair."""
        original: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(original)
        def scoped(*args: Any, **kwargs: Any) -> Any:
            self._thread.repairs = getattr(self._thread, "repairs", 0) + 1
            try:
                return original(*args, **kwargs)
            finally:
                self._thread.repairs -= 1

        setattr(owner, name, scoped)

    def mute(self, owner: type, name: str) -> None:
        """Let a method do nothing while the reconciler is the victim."""
        original: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(original)
        def muted(*args: Any, **kwargs: Any) -> Any:
            return 0 if self._board.victim == "reconciler" else original(*args, **kwargs)

        setattr(owner, name, muted)

    def watch_runs(self, owner: type, name: str) -> None:
        """Note where an attempt is about to run a step that is recorded; to look is no call."""
        original: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(original)
        def watched(attempt: Any, *args: Any, **kwargs: Any) -> Any:
            self._thread.inside = True
            try:
                if _is_recorded(attempt.state, attempt.job, attempt.step.key):
                    self._board.note_late_run()
            finally:
                self._thread.inside = False
            return original(attempt, *args, **kwargs)

        setattr(owner, name, watched)

    def _counts(self, is_ack: bool) -> bool:
        if getattr(self._thread, "inside", False):
            return False
        victim = self._board.victim
        if victim == "worker":
            return self.process == "child" or (is_ack and self.process == "worker")
        if victim == "reconciler":
            return bool(getattr(self._thread, "repairs", 0))
        return self.process == victim

    def _die(self) -> None:
        if self._board.victim in ("worker", "reconciler"):
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def _is_recorded(state: Any, job: str, key: str) -> bool:
    record = state.client.hget(state.keys.named(job, "r")[0], key)
    return (record or b"").startswith(b"[") or ("/" in key and state.is_over(job, key))


def install(board: Board) -> Counter:
    """Patch what talks to Redis and to the broker."""
    import amqp
    import kombu.transport.redis
    import redis
    from celery.signals import worker_process_init

    from coordinator import attempt, line, outbox, reconciler
    from coordinator.state import steps

    counter = Counter(board)

    def enter_child(**_: Any) -> None:
        counter.process = "child"

    worker_process_init.connect(enter_child, weak=False)
    counter.patch(redis.Redis, "execute_command")
    counter.patch(redis.client.Pipeline, "execute")
    counter.patch(amqp.Channel, "_basic_publish")
    amqp.Channel.basic_publish = amqp.Channel._basic_publish
    for owner, ends in ((amqp.Channel, "basic_"), (kombu.transport.redis.QoS, "")):
        counter.patch(owner, f"{ends}ack", is_ack=True)
        counter.patch(owner, f"{ends}reject", is_ack=True)
    counter.patch(line._Gathered, "_write")
    counter.patch(line.Line, "confirm")
    counter.scope(reconciler.Reconciler, "_send")
    counter.scope(steps.Steps, "note_outbox")  # of what the watermark found to be lost
    counter.scope(outbox.Outbox, "send_again")
    counter.mute(outbox.Outbox, "send")
    counter.watch_runs(attempt.Attempt, "_with_value")  # called where begin says run
    return counter


#: Of this process, where the environment names a board.
COUNTER = install(Board(Path(os.environ[BOARD_VARIABLE]))) if os.environ.get(BOARD_VARIABLE) else None
