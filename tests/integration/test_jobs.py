from __future__ import annotations

import pytest
from celery import chain, chord, group
from celery.result import AsyncResult

from coordinator.errors import JobCancelled, JobFailed, JobRejected
from coordinator.states import State
from tests.facade import queue_of, running
from tests.flows import add, count_to, die, double, fail, flaky, grow, mark, total, wait_for_file
from tests.waiting import wait_until


def test_chain_with_chord_ends_with_its_value_when_run(coordinator, start_worker):
    """A chain whose middle is a chord gives the value that Celery's canvas gives."""
    start_worker()
    canvas = chain(add.s(1, 2), chord([add.s(10), double.s()], total.s()), double.s())

    job = coordinator.launch(canvas)

    assert coordinator.wait(job, timeout_s=20) == 2 * (13 + 6)
    status = coordinator.status(job)
    assert (status.state, status.steps_done, status.steps_total) == (State.SUCCEEDED, 5, 5)


def test_nested_canvas_gives_a_flat_list_when_it_ends_in_groups(coordinator, start_worker):
    """As in Celery, a group directly within a group is flattened."""
    start_worker()
    canvas = chain(add.s(0, 1), group(double.s(), group(add.s(5), chain(double.s(), double.s()))))

    assert coordinator.wait(coordinator.launch(canvas), timeout_s=20) == [2, 6, 4]


@pytest.mark.parametrize("priority", [1, 9, 200])
def test_step_goes_first_when_it_has_a_priority_and_others_have_none(coordinator, priority):
    """On every broker: on Redis a message without one was the most urgent."""
    plain = coordinator.launch(add.s(1, 1))
    urgent = coordinator.launch(add.s(1, 1).set(priority=priority))

    with queue_of(coordinator) as queue:
        found = [queue.get(no_ack=True).headers["root_id"] for _ in range(2)]

    assert found == [urgent, plain]


def test_kind_runs_checks_then_each_item_when_submitted(coordinator, start_worker):
    """The checks' verdicts are flags, and the work runs only after them."""
    start_worker()

    receipt = coordinator.submit("sum_to", {"n": 10})

    assert receipt.status == "accepted"
    assert coordinator.wait(receipt.id, timeout_s=20) == 90
    flags = {flag.check: flag for flag in coordinator.status(receipt.id).flags}
    assert {name: flag.valid for name, flag in flags.items()} == {
        "params": True,
        "positive": True,
        "even": True,
    }
    assert all(flag.version == "2" and flag.at_ms and flag.params_hash for flag in flags.values())


def test_kind_over_no_items_ends_with_an_empty_join_when_run(coordinator, start_worker):
    """``each`` over an empty list hands the join an empty list."""
    start_worker()

    assert coordinator.wait(coordinator.submit("sum_to", {"n": 0}).id, timeout_s=20) == 0


def test_job_is_rejected_and_sends_no_work_when_checks_refuse(coordinator, start_worker):
    """Every invalid flag is told, there is one alert, and no step of the work was sent."""
    start_worker()
    job = coordinator.submit("sum_to", {"n": -3}).id

    with pytest.raises(JobRejected, match=r"at least 0.*even number"):
        coordinator.wait(job, timeout_s=20)

    assert [flag.check for flag in coordinator.status(job).flags if not flag.valid] == ["even", "positive"]
    assert [alert["alert"] for alert in coordinator.alerts() if alert["job"] == job] == ["rejected"]
    work = [step for step in coordinator.steps(job) if step.task == "tests.flows.count_to"]
    assert [step.attempts for step in work] == [0]


def test_request_is_refused_at_once_when_parameters_do_not_fit(coordinator):
    """The source's interface: an error answer that lists each fault, a flag, and an alert."""
    answer = coordinator.process_request({"id": "r-1", "kind": "sum_to", "params": {"n": "many"}})

    assert answer["status"] == "error" and answer["message"] == "Validation failed" and answer["id"] == "r-1"
    assert "how many numbers" in answer["errors"][0]
    assert coordinator.status("r-1").state == State.REJECTED
    assert [alert["job"] for alert in coordinator.alerts()] == ["r-1"]


def test_request_is_accepted_when_valid(coordinator, start_worker):
    """The source's interface: the answer to a valid request."""
    start_worker()
    request = {"id": "r-2", "kind": "sum_to", "params": {"n": 4}}

    answer = coordinator.process_request(request)

    assert answer == {"status": "accepted", "message": "Processing started", "id": "r-2"}
    assert coordinator.wait("r-2", timeout_s=20) == 12


def test_job_fails_once_with_the_error_when_a_step_raises(coordinator, start_worker):
    """The job names the step, the error and its message; there is one alert; nothing follows."""
    start_worker()
    job = coordinator.launch(chain(group(fail.si("boom"), fail.si("bang")), total.s()))

    with pytest.raises(JobFailed, match=r"boom|bang"):
        coordinator.wait(job, timeout_s=20)

    error = coordinator.status(job).error
    assert (
        error["type"] == "ValueError"
        and error["task"] == "tests.flows.fail"
        and "Traceback" in error["traceback"]
    )
    assert [alert["alert"] for alert in coordinator.alerts()] == ["failed"]


def test_retry_runs_only_what_is_not_recorded_when_a_job_failed(coordinator, start_worker, tmp_path):
    """Retry keeps the journal."""
    start_worker()
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    job = coordinator.launch(
        chain(mark.s("a", str(runs)), wait_for_file.si(str(gate), 0.1), mark.s(str(runs)))
    )
    with pytest.raises(JobFailed):
        coordinator.wait(job, timeout_s=20)

    gate.write_text("b")
    coordinator.retry(job)

    assert coordinator.wait(job, timeout_s=20) == "b"
    assert runs.read_text() == "a\nb\n"


def test_step_waits_in_redis_and_runs_again_when_it_asks_for_a_retry(coordinator, start_worker, tmp_path):
    """A retry's waiting is a timer: the step comes back with its count, and not before it is due."""
    start_worker()
    job = coordinator.launch(flaky.s(str(tmp_path / "runs"), 2, 0.6))

    assert coordinator.wait(job, timeout_s=20) == 3
    lines = [line.split() for line in (tmp_path / "runs").read_text().splitlines()]
    assert [line[0] for line in lines] == ["0", "1", "2"]
    assert float(lines[1][1]) - float(lines[0][1]) >= 0.6


def test_step_runs_again_when_its_process_is_killed(coordinator, start_worker, tmp_path):
    """A killed child: the step is redelivered, with a higher fence."""
    start_worker()
    job = coordinator.launch(chain(die.s(str(tmp_path / "runs"), 1), double.s()))

    assert coordinator.wait(job, timeout_s=30) == 4


def test_step_is_given_up_when_it_kills_its_process_every_time(coordinator, start_worker, services, tmp_path):
    """A poisoned step ends its job with a clear error and a dead letter."""
    services.env["COORDINATOR_MAX_ATTEMPTS"] = "2"
    start_worker()
    job = coordinator.launch(die.s(str(tmp_path / "runs"), 99))

    with pytest.raises(JobFailed, match="given up"):
        coordinator.wait(job, timeout_s=40)
    assert (tmp_path / "runs").read_text().split() == ["1", "2"]
    assert [alert["alert"] for alert in coordinator.alerts()] == ["dead-letter"]


def test_job_completes_when_a_whole_worker_is_killed(coordinator, start_worker, tmp_path):
    """Another worker takes the step over once the lease has run out."""
    worker = start_worker(concurrency=1)
    gate = tmp_path / "gate"
    job = coordinator.launch(chain(wait_for_file.s(str(gate)), mark.s(str(tmp_path / "runs"))))
    wait_until(lambda: running(coordinator, job), what="the step to run")

    worker.kill()
    gate.write_text("x")
    start_worker()

    assert coordinator.wait(job, timeout_s=30) == "x"
    assert (tmp_path / "runs").read_text() == "x\n"


def test_step_may_put_a_canvas_in_its_place_when_it_runs(coordinator, start_worker):
    """``replace`` is durable: the plan grows, and what followed the step gets the canvas' value."""
    start_worker()
    job = coordinator.launch(chain(grow.s(4), double.s()))

    assert coordinator.wait(job, timeout_s=20) == 24
    assert coordinator.status(job).steps_total == 7


def test_job_stays_cancelled_when_no_worker_lives(coordinator, start_worker, tmp_path):
    """Cancel needs no worker; nothing of the job starts afterwards."""
    job = coordinator.launch(mark.s("x", str(tmp_path / "runs")))
    coordinator.cancel(job, "changed my mind")

    start_worker()
    other = coordinator.launch(add.s(1, 1))
    assert coordinator.wait(other, timeout_s=20) == 2
    with pytest.raises(JobCancelled, match="changed my mind"):
        coordinator.wait(job, timeout_s=5)
    assert not (tmp_path / "runs").exists()


def test_paused_job_goes_on_when_resumed(coordinator, start_worker, tmp_path):
    """Pause lets a running step finish and starts none."""
    start_worker()
    gate = tmp_path / "gate"
    job = coordinator.launch(chain(wait_for_file.s(str(gate)), mark.s(str(tmp_path / "runs"))))
    wait_until(lambda: running(coordinator, job), what="the step to run")
    coordinator.pause(job)
    gate.write_text("x")
    wait_until(lambda: coordinator.status(job).steps_done == 1, what="the running step to finish")
    assert not (tmp_path / "runs").exists()

    coordinator.resume(job)

    assert coordinator.wait(job, timeout_s=20) == "x"


def test_celery_reads_the_journal_when_asked_for_a_step(coordinator, start_worker):
    """``AsyncResult`` of a step's id gives state and value."""
    start_worker()
    job = coordinator.launch(chain(count_to.s(3), total.s()))
    coordinator.wait(job, timeout_s=20)

    result = AsyncResult(f"{job}:1.total", app=coordinator.app)

    assert (result.state, result.get(timeout=5)) == ("SUCCESS", 3)
    assert AsyncResult(f"{job}:0.count_to", app=coordinator.app).get(timeout=5) == [0, 1, 2]


def test_tasks_outside_of_jobs_behave_as_celery_does_when_called(coordinator, start_worker):
    """``delay`` and ``get`` on a task that is in no job."""
    start_worker()
    app = coordinator.app

    assert app.send_task("tests.flows.add", (2, 3)).get(timeout=20) == 5


def test_lost_message_is_sent_again_when_the_queue_was_purged(coordinator, start_worker):
    """A purge eats the message; the job completes all the same."""
    job = coordinator.launch(chain(add.s(1, 2), double.s()))
    with queue_of(coordinator) as queue:
        assert queue.purge() == 1

    start_worker()

    assert coordinator.wait(job, timeout_s=20) == 6
    assert [event for event in coordinator.events(job) if event.event == "redriven"]
