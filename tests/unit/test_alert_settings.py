"""Channels and rules as they are read, without a server."""

from __future__ import annotations

import signal
import socket
import time
from threading import Thread

import pytest
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

from coordinator.alerting.channels import DeliveryFailed, read_channels, send
from coordinator.alerting.delivery import TRY_S, register
from coordinator.alerting.relay import DELIVER
from coordinator.alerting.rules import Alert, Rules
from coordinator.errors import SettingsError
from tests.servers.receiver import SECRET


def test_alert_settings_are_refused_without_their_secrets_when_they_cannot_be_used(tmp_path):
    """Every fault is named by its place."""
    with pytest.raises(SettingsError, match="entry 2") as caught:
        read_channels(f"ops=json://localhost/{SECRET} {SECRET}")
    assert SECRET not in str(caught.value)
    path = tmp_path / "rules.toml"
    path.write_text('[[rule]]\nseverity = "dire"\nchannels = ["nowhere"]\nalerts = ["failled"]')
    with pytest.raises(SettingsError, match=r"alerts.*failled.*severity.*dire.*channels.*ops.*nowhere"):
        Rules.read(str(path), ["ops"])
    for endless in ("inf", "nan"):
        path.write_text(f"stalled_s = {endless}")
        with pytest.raises(SettingsError, match="stalled_s"):
            Rules.read(str(path), ["ops"])
    assert read_channels("json://a mail=mailto://b") == {"1": "json://a", "mail": "mailto://b"}


def test_rules_want_warnings_and_errors_when_there_is_no_file():
    """Also the word that a job has recovered, but nothing else of mere information."""
    rules = Rules()
    for alert, severity, is_wanted in (
        ("failed", "error", True),
        ("rejected", "warning", True),
        ("message", "info", False),
        ("recovered", "info", True),
    ):
        found = Alert("0-1-0", 1, "j", alert, severity, "m")
        assert bool(rules.wanted_by(found, "k", ["ops"])) is is_wanted


def test_channel_is_given_up_for_now_when_its_answer_never_ends():
    """One that sends a byte now and then runs into no time-out of a socket: the step's own limit ends it."""
    app = Celery(set_as_current=False)
    register(app)
    assert app.tasks[DELIVER].soft_time_limit == TRY_S

    def end(*_: object) -> None:
        raise SoftTimeLimitExceeded

    previous = signal.signal(signal.SIGALRM, end)
    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=_drip, args=(server,), daemon=True).start()
        try:
            with pytest.raises(DeliveryFailed, match="channel ops"):
                send(
                    "ops",
                    f"json://127.0.0.1:{server.getsockname()[1]}",
                    Alert("0-1-0", 1, "", "x", "error", "m"),
                )
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)


def _drip(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        signal.setitimer(signal.ITIMER_REAL, 1)  # now, when the alert is on its way, however long that took
        for _ in range(100):
            time.sleep(0.2)
            try:
                connection.sendall(b"x")
            except OSError:
                return
