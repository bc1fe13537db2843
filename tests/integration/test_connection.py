"""Connections: whatever ends a call, an answer is that of its own call, and what is sent later arrives."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial

import pytest

from coordinator.dispatcher import TaskDispatcher
from coordinator.plan import PlannedStep
from coordinator.state.connection import Script, Scripts

CALLS, SENDS, MESSAGES = 400, 60, 20
#: A send waits longer than that only for confirms that don't come.
AT_ONCE_S = 8.0

# Sockets that were just being opened.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


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


@pytest.mark.parametrize("way", ["script", "command"])
def test_answer_is_its_own_calls_when_signals_end_calls_anywhere(redis_server, way):
    """A soft time limit may end a call between its question and its answer."""
    scripts, echo = Scripts(redis_server.url()), Script("return ARGV[1]")
    ask = (lambda n: scripts.keeping(echo, [], [n])) if way == "script" else scripts.client.echo
    answers = [limited(0.0001 * (number % 10), partial(ask, number)) for number in range(CALLS)]

    assert not [answer for n, answer in enumerate(answers) if answer not in ([], [b"%d" % n])]
    assert [] in answers and any(answers), "expected some of the calls to be ended, and some not"


def test_answer_is_its_own_processs_when_a_child_was_forked_from_one_that_has_a_connection(redis_server):
    """Two processes on one socket would read each other's answers."""
    scripts, echo = Scripts(redis_server.url()), Script("return ARGV[1]")

    def wrong(who: str) -> int:
        return sum(scripts.keeping(echo, [], [f"{who}{n}"]) != f"{who}{n}".encode() for n in range(CALLS))

    assert not wrong("before")
    child = os.fork()
    if child == 0:
        os._exit(min(wrong("child"), 1))
    wrong_here = wrong("parent")
    _, status = os.waitpid(child, 0)

    assert (wrong_here, os.waitstatus_to_exitcode(status)) == (0, 0)


@pytest.mark.brokers("rabbitmq")
def test_message_is_confirmed_at_once_when_signals_have_ended_sends_before_it(coordinator):
    """Half a frame, or messages that were counted and never left, must not stand in the way of the next."""
    dispatcher = TaskDispatcher(coordinator.app)
    steps = [PlannedStep(str(number), "tests.flows.add", args=(number,)) for number in range(MESSAGES)]
    sends, longest_s = [], 0.0
    for number in range(SENDS):
        sends.append(limited(0.001 * (number % 20), lambda: dispatcher.send("j", steps)))
        started = time.monotonic()
        dispatcher.send("j", steps[:1])
        longest_s = max(longest_s, time.monotonic() - started)
    dispatcher.close()

    assert longest_s < AT_ONCE_S
    assert [] in sends and [None] in sends, "expected some of the sends to be ended, and some not"
