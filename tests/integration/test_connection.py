"""The connection to Redis: whatever ends a call, an answer is that of its own call."""

from __future__ import annotations

import os
import signal

import pytest

from coordinator.state.connection import Script, Scripts

CALLS, APART_S = 400, 0.0005


class Ended(Exception):
    """What a time limit raises, wherever the code happens to be."""


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # sockets that were being opened
@pytest.mark.parametrize("way", ["script", "command"])
def test_answer_is_its_own_calls_when_signals_end_calls_anywhere(redis_server, way):
    """A soft time limit may end a call between its question and its answer."""
    scripts, echo = Scripts(redis_server.url()), Script("return ARGV[1]")
    ask = (lambda n: scripts.keeping(echo, [], [n])) if way == "script" else scripts.client.echo
    wrong, ended = [], 0

    def end_the_call(*_args):
        raise Ended

    before = signal.signal(signal.SIGALRM, end_the_call)
    try:
        for number in range(CALLS):
            try:
                signal.setitimer(signal.ITIMER_REAL, APART_S * (number % 10 + 1) / 5)
                answer = ask(number)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Ended:
                ended += 1
            else:
                wrong += [number] if answer != b"%d" % number else []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert not wrong
    assert 0 < ended < CALLS, f"expected some of the calls to be ended, {ended} of {CALLS} were"


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
