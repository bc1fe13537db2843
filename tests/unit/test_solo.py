"""A worker of the solo pool acknowledges at once; others leave it to their loop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from celery.concurrency.prefork import TaskPool as Prefork
from celery.concurrency.solo import TaskPool as Solo

from coordinator.solo import PromptAcks


def consumer_on(pool: type) -> Any:
    return SimpleNamespace(pool=pool.__new__(pool), call_soon_ack="the loop's")


def test_ack_leaves_at_once_when_the_pool_is_solo() -> None:
    """The call is made before ``call_soon_ack`` returns, not at the loop's next turn."""
    consumer, acked = consumer_on(Solo), []
    assert PromptAcks(consumer).include(consumer)
    consumer.call_soon_ack(acked.append, "message")
    assert acked == ["message"]


def test_ack_stays_the_loops_when_the_pool_has_children() -> None:
    """Results of children come to the loop itself: its own way is right there."""
    consumer = consumer_on(Prefork)
    assert not PromptAcks(consumer).include(consumer)
    assert consumer.call_soon_ack == "the loop's"
