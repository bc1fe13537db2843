"""Channels and rules as they are read, without a server."""

from __future__ import annotations

import pytest

from coordinator.alerting.channels import read_channels
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
