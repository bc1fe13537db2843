"""A project as teams have it: late configuration, base classes with hooks, a router, tasks of every sort."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from celery import Celery, Task, shared_task
from celery.contrib.abortable import AbortableTask

from coordinator import install
from tests.waiting import wait_until

QUEUE = os.environ.get("PROJECT_QUEUE", "project")
#: Whether the tasks stand on Batuta's own application.
IS_OWN = os.environ.get("PROJECT_OWN") == "1"


def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> Any:
    return {"queue": f"{QUEUE}-heavy"} if getattr(task, "heavy", False) else None


if IS_OWN:
    from coordinator.app import app

    app.conf.task_routes = [route]
else:
    app = Celery("project")
    app.config_from_object(
        {
            "broker_url": os.environ.get("BROKER_URL"),
            "result_backend": os.environ.get("REDIS_URL"),
            "task_default_queue": QUEUE,
            "task_routes": [route],
        }
    )


class Hooked(Task):
    """Notes what is called, and with what."""

    abstract = True
    heavy = False

    def note(self, what: str, *values: Any) -> None:
        if path := os.environ.get("PROJECT_NOTES"):
            with Path(path).open("a") as file:
                file.write(json.dumps([self.name.rpartition(".")[2], what, *values]) + "\n")

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        self.note("before_start", args)

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        self.note("on_success", retval, args)

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.note("on_failure", str(exc), args)

    def on_retry(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.note("on_retry", str(exc), args)

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, *rest: Any) -> None:
        self.note("after_return", status, args)

    def retry(self, *args: Any, **options: Any) -> Any:
        """A team's own pause before each retry."""
        return super().retry(*args, **{**options, "countdown": 0.1})


@shared_task(base=Hooked)
def one(x: int) -> int:
    return x


@shared_task(base=Hooked, bind=True, max_retries=2, default_retry_delay=300)
def again(self: Any, x: int) -> int:
    if self.request.retries == 0:
        raise self.retry(exc=ConnectionError("away"))
    return x + 1


@shared_task(base=Hooked, bind=True, autoretry_for=(Exception,))
def replaced(self: Any, x: int) -> Any:
    return self.replace(one.s(x + 1))


@shared_task(base=Hooked)
def fails(x: int) -> None:
    raise ValueError(f"not {x}")


@shared_task(bind=True)
def place(self: Any) -> str:
    return str(self.request.delivery_info["routing_key"])


place.heavy = True  # completes the application while it is imported


@shared_task(bind=True)
def retried_elsewhere(self: Any, x: int) -> None:
    raise self.retry(args=(x + 1,), kwargs={}, queue="elsewhere", countdown=0)


@shared_task(bind=True, max_retries=1)
def retried_with_the_same(self: Any, x: int) -> int:
    if self.request.retries == 0:
        raise self.retry(args=[x], kwargs={}, countdown=0)
    return x


@shared_task(bind=True, max_retries=1)
def retried_at(self: Any) -> float:
    now = time.time()
    if self.request.retries == 0:
        raise self.retry(eta=datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=0.5))
    return now


@shared_task(bind=True)
def hands_headers_on(self: Any, x: int) -> str:
    return str(one.apply_async((x,), headers=self.request.headers).id)


@shared_task(ignore_result=True)
def unheard(x: int) -> int:
    return x


@shared_task(bind=True)
def tells(self: Any, path: str) -> str:
    self.update_state(state="PROGRESS", meta={"done": 3})
    wait_until(Path(path).exists, what=path)
    return "told"


@shared_task(bind=True, base=AbortableTask)
def looks(self: Any) -> str:
    self.update_state(state="LOOKING")
    wait_until(self.is_aborted, what="the word to stop")
    return "aborted"


if not IS_OWN:
    install(app)
