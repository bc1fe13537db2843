"""The collaborators of one Celery app, made once and shared by all who run on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from celery import Celery

from coordinator.dispatcher import TaskDispatcher
from coordinator.notifier import Notifier
from coordinator.outbox import Outbox
from coordinator.settings import Settings
from coordinator.state import StateManager
from coordinator.tracing import TracedDispatcher, is_on

#: The application that ``install`` made a home of jobs in this process, if any.
installed: Celery | None = None


@dataclass(frozen=True)
class Parts:
    """State manager, dispatcher, outbox and notifier. Nothing connects before it is used."""

    app: Celery
    settings: Settings

    @property
    def is_adopted(self) -> bool:
        """Whether the application is a project's own: what it sets means what it means to Celery."""
        return installed is self.app

    def priority_of(self, urgency: int) -> int:
        """Return a step's priority, 9 for the most urgent; on a project's Redis, as in Celery, that is 0."""
        is_turned = self.is_adopted and self.settings.broker_url.startswith("redis")
        return 9 - urgency if is_turned else urgency

    @cached_property
    def state(self) -> StateManager:
        return StateManager(self.settings)

    @cached_property
    def dispatcher(self) -> TaskDispatcher:
        return TracedDispatcher(self.app, self.state) if is_on() else TaskDispatcher(self.app)

    @cached_property
    def outbox(self) -> Outbox:
        return Outbox(self.state, self.dispatcher)

    @cached_property
    def notifier(self) -> Notifier:
        return Notifier(self.state)
