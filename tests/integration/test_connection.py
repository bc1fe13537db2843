"""Connections: whatever ends a call, an answer is that of its own call, and what is sent later arrives."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable
from functools import partial

import pytest

from coordinator.dispatcher import TaskDispatcher
from coordinator.plan import PlannedStep
from coordinator.state.connection import Script, Scripts
from tests.waiting import wait_until

CALLS, SENDS, MESSAGES = 400, 60, 20
#: A send waits longer than that only for confirms that don't come.
AT_ONCE_S = 8.0


class Ended(Exception):
    """What a time limit raises, wherever the code happens to be."""


def limited(seconds: float, call: Callable[[], object]) -> list[object]:
    """Call under what ends it as a soft time limit does (0: under none); returns the answer, or nothing."""

    ended = []

    def end(*_args: object) -> None:
        ended.append(True)
        raise Ended

    before = signal.signal(signal.SIGALRM, end)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        answer = call()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Exception:  # Ended, or what a library makes of it
        if ended:
            return []
        raise
    finally:
        signal.signal(signal.SIGALRM, before)
    return [answer]


def forked(check: Callable[[], None]) -> int:
    """Check in a process of its own, whose id is returned: what raises anywhere may leave any lock taken."""
    child = os.fork()
    if child == 0:
        try:
            check()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def code_of(child: int) -> int:
    """Wait for a child, and return its exit code."""
    codes: list[int] = []

    def has_ended() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        codes.extend([os.waitstatus_to_exitcode(status)] if pid else [])
        return bool(pid)

    try:
        wait_until(has_ended, what="the child to end", timeout_s=90)
    finally:
        if not codes:
            os.kill(child, signal.SIGKILL)
    return codes[0]


@pytest.mark.parametrize("way", ["script", "command"])
def test_answer_is_its_own_calls_when_signals_end_calls_anywhere(redis_server, way):
    """A soft time limit may end a call between its question and its answer."""

    def check() -> None:
        scripts, echo = Scripts(redis_server.url()), Script("return ARGV[1]")
        ask = (lambda n: scripts.keeping(echo, [], [n])) if way == "script" else scripts.client.echo
        answers = [limited(0.00002 * (number % 50), partial(ask, number)) for number in range(CALLS)]

        assert not [answer for n, answer in enumerate(answers) if answer not in ([], [b"%d" % n])]
        assert [] in answers and any(answers), "expected some of the calls to be ended, and some not"

    assert code_of(forked(check)) == 0


def test_answer_is_its_own_processs_when_a_child_was_forked_from_one_that_has_a_connection(redis_server):
    """Two processes on one socket would read each other's answers."""
    scripts, echo = Scripts(redis_server.url()), Script("return ARGV[1]")

    def wrong(who: str) -> int:
        return sum(scripts.keeping(echo, [], [f"{who}{n}"]) != f"{who}{n}".encode() for n in range(CALLS))

    def check() -> None:
        assert not wrong("child")

    assert not wrong("before")
    child = forked(check)
    wrong_here = wrong("parent")

    assert (code_of(child), wrong_here) == (0, 0)


@pytest.mark.brokers("rabbitmq")
def test_message_is_confirmed_at_once_when_signals_have_ended_sends_before_it(coordinator):
    """Half a frame, or messages that were counted and never left, must not stand in the way of the next."""

    def check() -> None:
        dispatcher = TaskDispatcher(coordinator.app)
        steps = [PlannedStep(str(number), "tests.flows.add", args=(number,)) for number in range(MESSAGES)]
        sends, longest_s = [], 0.0
        for number in range(SENDS):
            sends.append(limited(0.001 * (number % 20), lambda: dispatcher.send("j", steps)))
            started = time.monotonic()
            dispatcher.send("j", steps[:1])
            longest_s = max(longest_s, time.monotonic() - started)

        assert longest_s < AT_ONCE_S
        assert [] in sends and [None] in sends, "expected some of the sends to be ended, and some not"

    assert code_of(forked(check)) == 0
