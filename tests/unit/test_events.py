"""Events are gathered, and that a step has started is said before a long one runs."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from coordinator.events import GatheringDispatcher


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was published, each a list of events or one of them."""
    published: list[Any] = []
    monkeypatch.setattr(
        GatheringDispatcher, "_publish", lambda _self, event, *_args, **_options: published.append(event)
    )
    return published


def dispatcher() -> GatheringDispatcher:
    app = Celery(broker="memory://")
    return GatheringDispatcher(
        app.connection_for_write(), app=app, buffer_group=["task"], on_send_buffered=lambda: None
    )


def test_events_leave_in_one_message_when_many_come_at_once(
    sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy worker's events wait for each other."""
    monkeypatch.setattr("coordinator.events.GATHERED_S", 60.0)
    events = dispatcher()
    events.send("task-started", uuid="0")
    for number in range(1, 90):
        events.send("task-received", uuid=str(number))
        events.send("task-started", uuid=str(number))
    assert [len(part) for part in sent] == [1, 100]


def test_start_is_told_at_once_when_the_worker_was_idle(sent: list[Any]) -> None:
    """A solo worker's loop stands still while its step runs: the word goes before."""
    events = dispatcher()
    events.send("task-received", uuid="1")
    assert not sent
    events.send("task-started", uuid="1")
    assert [[event["type"] for event in part] for part in sent] == [["task-received", "task-started"]]
