"""The project: an application, tasks of several kinds, and a canvas. Only the last line is new."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from celery import Celery, Task, chain, chord, group

from coordinator import install
from examples.adopted import prices

app = Celery("shop", broker=os.environ.get("BROKER_URL"), backend=os.environ.get("REDIS_URL"))
app.conf.update(
    task_default_queue=os.environ.get("SHOP_QUEUE", "shop"),
    task_routes={"examples.adopted.shop.invoice": {"priority": 5}},
    include=["examples.adopted.prices"],
)

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


@contextlib.contextmanager
def as_tenant(name: str) -> Iterator[None]:
    token = tenant.set(name)
    try:
        yield
    finally:
        tenant.reset(token)


class TenantTask(Task):
    """A base class that opens a context around every call, as web frameworks have it."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with as_tenant("shop"):
            return super().__call__(*args, **kwargs)


@app.task
def articles(order: list[int]) -> list[int]:
    return sorted(order)


@app.task(base=TenantTask)
def in_stock(article: int) -> str:
    return f"{article} for {tenant.get()}"


@app.task(bind=True, max_retries=3, default_retry_delay=0.1)
def reserve(self: Any, article: int, path: str = "") -> str:
    """Fail the first time, as warehouses do."""
    if path and self.request.retries == 0:
        with Path(path).open("a") as file:
            file.write(f"{article}\n")
        raise self.retry(exc=ConnectionError("the warehouse does not answer"))
    return f"{article} is reserved"


@app.task(autoretry_for=(TimeoutError,), retry_backoff=0.05, max_retries=5)
def weigh(article: int) -> int:
    return 10 * article


@app.task
def summed(values: list[float]) -> float:
    return round(sum(values), 2)


@app.task(base=TenantTask, bind=True)
def invoice(_self: Any, parts: list[Any]) -> dict[str, Any]:
    price, reserved, weight = parts
    return {"tenant": tenant.get(), "price": price, "reserved": reserved, "weight": weight}


def order_canvas(order: list[int], path: str = "") -> Any:
    """The canvas that the project runs for each order: chords and groups in a header, a chain around."""
    return chain(
        chord(
            [
                chord(
                    [chain(prices.price_of.s(a), prices.discounted.s(percent=10)) for a in order], summed.s()
                ),
                group(reserve.s(a, path) for a in order) | reserved_list.s(),
                chord([weigh.s(a) for a in order], summed.s()),
            ],
            invoice.s(),
        ),
        finished.s(),
    )


@app.task
def reserved_list(values: list[str]) -> str:
    return ", ".join(values)


@app.task
def finished(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "finished": True}


install(app)
