"""Time limits of a worker that runs its steps in its own process leave nothing behind in it."""

from __future__ import annotations

import signal
import threading
from types import SimpleNamespace

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from coordinator.fleet import EXPENDABLE
from coordinator.limits import limits
from tests.waiting import wait_until


def test_hard_limit_is_called_off_when_the_soft_one_is_raised_just_as_the_step_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else it would end the process while that runs another step."""
    monkeypatch.setenv(EXPENDABLE, "1")
    before, set_timer = signal.getsignal(signal.SIGALRM), signal.setitimer

    def raise_just_before(which: int, seconds: float) -> None:
        set_timer(which, seconds)
        if not seconds:
            raise SoftTimeLimitExceeded

    monkeypatch.setattr(signal, "setitimer", raise_just_before)
    request = SimpleNamespace(timelimit=(3600, 1800))

    with (
        pytest.raises(SoftTimeLimitExceeded),
        limits(SimpleNamespace(request=request, time_limit=None, soft_time_limit=None), lambda _: None),
    ):
        pass

    assert signal.getsignal(signal.SIGALRM) is before
    wait_until(
        lambda: not any(isinstance(thread, threading.Timer) for thread in threading.enumerate()),
        what="the watch of the hard limit to end",
    )
