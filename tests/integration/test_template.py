"""What is made from a template is, on the wire, what Celery would have sent."""

from __future__ import annotations

import pytest
from celery import chain, group
from celery.signals import before_task_publish

from coordinator.template import Template
from tests.facade import queue_of
from tests.flows import add, double, total

CANVASES = {
    "fan-out": lambda: chain(group(add.s(n, n) for n in range(30)), total.s()),
    "keyword arguments": lambda: group(add.s(n, y=1) for n in range(5)),
    "true and one": lambda: group(add.s(True, y=True), add.s(1, y=1), add.s(1.0, y=1.0)),
    "texts": lambda: group(double.s(text) for text in ("", "ä", "'", '"', "\\", "x" * 5000, "\ud800")),
    "two tasks in turn": lambda: group((add.s(n, n) if n % 2 else double.s(n)) for n in range(10)),
    "options": lambda: group(
        add.s(n, n).set(priority=5, time_limit=9, headers={"trace": f"t{n}"}) for n in range(9)
    ),
    "expires": lambda: group(add.s(n, n).set(expires=3600) for n in range(5)),
    "shadow": lambda: group(add.s(n, n).set(shadow=f"name-{n}") for n in range(5)),
}


def messages(coordinator, canvas) -> dict[str, tuple[object, ...]]:
    """Submit a canvas, and return what lies in the queue, by the step's id without the job's."""
    job = coordinator.launch(canvas)
    found = {}
    with queue_of(coordinator) as queue:
        while message := queue.get(no_ack=True):
            headers = repr(message.headers).replace(job, "JOB")
            properties = {**message.properties, "application_headers": None, "correlation_id": None}
            info = {**message.delivery_info, "message_count": None, "delivery_tag": None}
            assert message.properties["correlation_id"] == message.headers["id"]
            step = message.headers["id"].replace(job, "JOB")
            found[step] = (headers, properties, info, message.body)
    return found


@pytest.mark.brokers("rabbitmq")
@pytest.mark.parametrize("name", CANVASES)
def test_message_is_the_same_when_it_is_made_from_a_template(coordinator, monkeypatch, name):
    """Headers, properties, body and way: nothing tells the one from the other."""
    made = []
    monkeypatch.setattr(
        Template, "make", lambda *args, make=Template.make: made.append(make(*args)) or made[-1]
    )
    from_template = messages(coordinator, CANVASES[name]())
    by_template = len(made)

    def listens(**_: object) -> None:
        """Who listens to the signal gets Celery's way."""

    before_task_publish.connect(listens)
    try:
        celerys = messages(coordinator, CANVASES[name]())
    finally:
        before_task_publish.disconnect(listens)

    assert len(made) == by_template
    assert by_template > 0 or name in ("two tasks in turn", "expires", "shadow")
    if name == "expires":  # of its moment
        from_template, celerys = from_template.keys(), celerys.keys()
    assert from_template == celerys
