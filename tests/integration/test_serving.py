"""Which live workers can serve a plan: said before anything is sent."""

from __future__ import annotations

from celery import chain

from coordinator import each
from coordinator.compiler import compile_canvas
from tests.flows import add, count_to, double, total


def test_queue_has_its_workers_and_none_is_said_plainly(coordinator, start_worker):
    """Those that read it and know its tasks; for a queue that nobody reads, how to start one."""
    worker = start_worker()
    plan = compile_canvas(chain(count_to.s(3), each(double.s().set(queue="gpu"), join=total.s())))

    expected = coordinator.forecast(plan)
    gpu, own = sorted(coordinator.serving(expected).queues, key=lambda served: served.queue != "gpu")

    assert (own.queue, own.messages, own.workers, own.advice) == (
        coordinator.settings.queue,
        3,
        (worker.nodename,),
        "",
    )
    assert (gpu.messages, gpu.more, gpu.workers) == (0, ("1",), ())
    assert "worker -Q gpu" in gpu.advice


def test_task_that_no_reader_knows_is_named(coordinator, start_worker):
    """A worker that was started with other jobs reads the queue, and can't run the step."""
    start_worker(env={"COORDINATOR_JOBS": "tests.integration.late_clock"})

    (served,) = coordinator.serving(coordinator.forecast(compile_canvas(add.s(1, 1)))).queues

    assert served.workers == () and served.unknown == ("tests.flows.add",)
    assert "tests.flows.add" in served.advice and "COORDINATOR_JOBS" in served.advice


def test_plan_is_counted_when_no_server_answers(elsewhere, services):
    """The workers could not be asked; the rest is known."""
    broker = "amqp://a:secret@127.0.0.1:1//" if services.kind == "rabbitmq" else "redis://127.0.0.1:1/0"
    coordinator = elsewhere(broker_url=broker, redis_url="redis://:secret@127.0.0.1:1/1")

    expected = coordinator.forecast(compile_canvas(add.s(1, 1)))
    found = coordinator.serving(expected)

    assert expected.messages == 1 and found.queues[0].workers is None
    assert "can't be used" in found.fault and "secret" not in found.fault


def test_batches_are_as_many_as_was_said_when_items_and_size_are_given(coordinator, start_worker):
    """A range in batches of a size, merged: the formula is what happens."""
    start_worker()
    canvas = each(double.s(), batch=1, combine=total.s(), over=range(101))
    expected = coordinator.forecast(compile_canvas(canvas))

    job = coordinator.launch(canvas)

    assert coordinator.wait(job, timeout_s=30) == 101 * 100
    state = coordinator.state_manager
    steps = int(state.client.hget(state.keys.named(job, "s")[0], "0:serial"))
    assert 1 + steps == expected.least == expected.most
