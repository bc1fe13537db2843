"""Processes that have not seen a retry --from: what they show of the job, and what they send for it."""

from __future__ import annotations

from typing import NoReturn

from celery import chain, chord

from coordinator import each, race
from coordinator.attempt import Attempt
from coordinator.dispatcher import HEADER
from coordinator.errors import JobNotFound
from coordinator.plan import PHASE_CHECK
from coordinator.state.plans import FIRST_EPOCH
from coordinator.states import State
from tests.facade import opened, running
from tests.flows import add, after_file, double, total
from tests.integration.by_hand import JOB, Hand, let_happen_before, open_stream
from tests.waiting import wait_until


def test_result_is_the_present_one_when_a_process_saw_what_stood_there_before(hand):
    """It showed a part for the whole, and Flower or ``AsyncResult`` got a KeyError for a step that is new."""
    job = hand(chain(add.s(1, 1), double.s()))
    job.run("0")
    job.expand("1", chord([add.s(n, n) for n in range(2)], total.s()))
    job.run("1/0")
    assert job.another.outcome(JOB, "1/0")[0] == "succeeded"
    job.state.cancel(JOB)

    job.state.retry_from(JOB, "0")
    job.run("0")
    job.expand("1", chord([add.s(n, n) for n in range(3)], total.s()))
    job.run("1/0", "1/1", "1/2", "1/3")

    assert job.another.outcome(JOB, "1/3")[0] == "succeeded"
    assert job.another.result(JOB) == "1/3"


def test_error_callback_is_the_present_one_when_a_process_saw_what_stood_there_before(hand):
    """As that of a worker's parent, which tells of time limits."""
    job = hand(chain(add.s(1, 1), double.s()))
    for tasks in (1, 2):
        job.run("0")
        job.expand("1", chain(add.s(n, n) for n in range(tasks)).on_error(double.s()))
        assert job.another.around(JOB, "1/0") == ([], [f"=1/{tasks}"])
        job.state.cancel(JOB)
        job.state.retry_from(JOB, "0")


def test_tuned_batches_run_at_once_when_the_job_was_retried_from_a_step_elsewhere(
    coordinator, start_worker, services, tmp_path
):
    """Their messages carry the present epoch, also from a process that did not know of it."""
    services.env["COORDINATOR_LEASE_S"] = "60"  # what is left in the outbox waits for half of it
    start_worker(concurrency=4)
    gate, state = tmp_path / "gate", coordinator.state_manager

    def done() -> int:
        return int(state.client.hget(state.keys.named(job, "s")[0], "0:done") or 0)

    job = coordinator.launch(each(after_file.s(str(gate)), batch=1, window=1, over=range(9)))
    wait_until(lambda: done() == 3 and running(coordinator, job), what="the first items")
    coordinator.cancel(job)
    with opened(services.env) as elsewhere:
        elsewhere.retry(job, from_step="0")
    wait_until(lambda: done() == 3, what="the first items once more")

    coordinator.tune(job, "0", window=3)

    wait_until(lambda: len(running(coordinator, job)) == 3, timeout_s=15, what="three batches to run")
    gate.touch()
    assert coordinator.wait(job, timeout_s=20) == list(range(9))


def test_message_carries_the_epoch_of_the_look_when_another_thread_notices_a_new_one(
    coordinator, monkeypatch
):
    """The step may not be ready in that one: the reconciler shares its memory with a worker's own threads."""
    job = coordinator.launch(add.s(1, 1))
    state, sent = coordinator.state_manager, []
    state.note_outbox(job, "*")
    busy = state.busy

    def notice_meanwhile(name: str) -> set[str]:
        state.notice_epoch(name, "1")
        return busy(name)

    monkeypatch.setattr(state, "busy", notice_meanwhile)
    monkeypatch.setattr(coordinator._parts.dispatcher, "send", lambda *_, epoch, **__: sent.append(epoch))
    coordinator._parts.outbox.send_again(job, "*")

    assert sent == [FIRST_EPOCH]


def test_what_follows_carries_the_epoch_of_its_attempt_when_another_thread_notices_a_new_one(
    coordinator, monkeypatch
):
    """It came about in that one; in the new one it ran before its turn, for it takes no value."""
    job, sent = Hand(coordinator.settings, chain(add.s(1, 1), add.si(2, 2))), []
    state, finish = coordinator.state_manager, coordinator.state_manager.finish

    def take_back_meanwhile(*args: object) -> list[str]:
        answer = finish(*args)
        job.state.cancel(JOB)
        job.state.retry_from(JOB, "0")
        state.look_at_epoch(JOB)  # as the reconciler does in its thread
        return answer

    monkeypatch.setattr(state, "finish", take_back_meanwhile)
    monkeypatch.setattr(coordinator._parts.dispatcher, "send", lambda *_, epoch, **__: sent.append(epoch))
    task, step = coordinator.app.tasks["tests.flows.add"], job.step("0")
    header = {"job": JOB, "key": "0", "take": "", "follow": step.follow, "phase": step.phase}
    task.push_request(hostname="w", args=[1, 1], **{HEADER: header})
    assert Attempt(task, header).execute((1, 1), {}) == 2
    task.pop_request()

    assert sent == [FIRST_EPOCH]
    assert job.frontier == ["0"]


def test_frontier_stays_in_the_outbox_when_it_was_noted_anew_while_an_older_one_is_sent(
    coordinator, monkeypatch
):
    """Its process may be killed before it sends, and what it named waited to be found lost."""
    job = coordinator.launch(chain(add.s(1, 1), double.s()))
    state, parts = coordinator.state_manager, coordinator._parts
    state.cancel(job)
    state.retry(job)

    def retry_meanwhile(*_: object, **__: object) -> None:
        state.cancel(job)
        state.retry_from(job, "0")

    monkeypatch.setattr(parts.dispatcher, "send", retry_meanwhile)
    parts.outbox.send_again(job, "*")
    assert state.noted_at(job, "*") != "0"

    monkeypatch.setattr(parts.dispatcher, "send", lambda *_, **__: None)
    parts.outbox.send_again(job, "*")
    assert state.noted_at(job, "*") == "0"


def test_epoch_is_the_first_when_the_id_is_given_again(hand):
    """A key may be used again once its job is kept no longer; the new job's first messages were refused."""
    job = hand(add.s(1, 1))
    plan = job.state.plan(JOB)
    job.state.cancel(JOB)
    job.state.retry_from(JOB, "0")
    job.state.look_at_epoch(JOB)
    job.state.client.delete(*job.state.keys.named(JOB, "m p r x g f e a b s v"))

    fields = {"kind": "any", "receipt": "r", "total": 1, "params": "{}"}
    job.state.submit(JOB, State.PROCESSING, fields, plan=plan)

    assert job.state.epoch(JOB) == FIRST_EPOCH


def test_steps_that_never_began_are_forgotten_when_the_canvas_that_held_them_was_out_of_its_race(hand):
    """Their marks go with the canvas: nobody else takes them off, and progress counted them."""
    job = hand(race(add.s(1, 1), add.s(2, 2)))
    job.expand("1", chain(add.s(1, 1), double.s(), double.s()))
    assert (job.break_at("1/0"), job.break_at("2")) == ("out", "failed")

    job.state.retry_from(JOB, "0")

    assert job.state.recorded(JOB) == set()
    assert job.progress == (0, 3)
    job.run("1")
    assert job.state.state(JOB) == State.SUCCEEDED
    assert job.progress == (2, 2)


def test_join_waits_for_all_its_parts_when_a_canvas_stood_in_its_place_before(hand):
    """Its parts were counted on from those of the canvas that was forgotten."""
    job = hand(add.s(1, 1))
    job.expand("0", chord([add.s(n, n) for n in range(2)], total.s()))
    job.run("0/0")
    job.state.cancel(JOB)
    job.state.retry_from(JOB, "0")
    job.expand("0", chord([add.s(n, n) for n in range(2)], total.s()))

    assert job.answer("0/0", job.begin("0/0")) == ["recorded"]
    assert job.answer("0/1", job.begin("0/1")) == ["recorded", "0/j0"]


def test_batches_are_sent_at_once_when_the_each_of_a_check_is_tuned(hand):
    """The job is not processing yet: they waited for the reconciler."""
    job = hand(add.s(1, 1), PHASE_CHECK)
    open_stream(job, "0", 3, window=1)

    assert job.state.tune(JOB, "0", window=3, batch=None) == ["=0/1", "=0/2"]


def test_job_goes_on_when_it_is_taken_back_while_another_process_finds_it_complete(hand):
    """It was said to have succeeded, with nothing recorded and no result."""
    job = hand(chain(add.s(1, 1), double.s()))
    job.run("0")
    number = job.begin("1")
    job.state.cancel(JOB)
    job.end("1", number)
    job.another.retry(JOB)

    def take_back() -> None:
        job.state.cancel(JOB)
        job.state.retry_from(JOB, "0")

    let_happen_before(job.another, "complete", take_back)
    job.outbox_of(job.another).send_again(JOB, "*")

    assert job.state.state(JOB) == State.PROCESSING
    assert job.frontier == ["0"]
    job.run("0", "1")
    assert job.state.state(JOB) == State.SUCCEEDED


def test_what_a_killed_sender_left_is_sent_when_its_message_comes_to_a_process_that_saw_another_canvas(
    coordinator, monkeypatch
):
    """It found no such step, sent nothing, and took the entry off: the step waited to be found lost."""
    job, sent = Hand(coordinator.settings, chain(add.s(1, 1), double.s())), []
    old = coordinator.state_manager
    for tasks in (2, 3):
        job.run("0")
        job.expand("1", chain(add.si(n, n) for n in range(tasks)))
        if tasks == 2:
            old.plan(JOB, "1/")
            job.state.cancel(JOB)
            job.state.retry_from(JOB, "0")
    job.run("1/0", "1/1")  # whose worker is killed then
    monkeypatch.setattr(
        coordinator._parts.dispatcher, "send", lambda _, steps, *__, **___: sent.extend(s.key for s in steps)
    )

    task, step = coordinator.app.tasks["tests.flows.add"], job.step("1/1")
    header = {"job": JOB, "key": "1/1", "take": "", "follow": step.follow, "phase": step.phase, "epoch": "1"}
    task.push_request(hostname="w", **{HEADER: header})
    assert Attempt(task, header).execute((), {}) == "already recorded"
    task.pop_request()

    assert sent == ["1/2"]
    assert "1/1" not in job.noted


def test_entry_stays_when_its_canvas_comes_to_stand_again_while_another_process_misses_it(hand, monkeypatch):
    """It was taken off, and what its process, killed before it sent it, had noted was missing."""
    job = hand(chain(add.s(1, 1), double.s()))
    job.run("0")
    job.expand("1", add.si(1, 1))
    job.state.client.zadd(job.state.keys.named(JOB, "outbox")[0], {f"{JOB}|1/^": 1})  # noted long ago
    job.state.cancel(JOB)
    job.state.retry_from(JOB, "0")

    def miss(*_: object) -> NoReturn:
        job.run("0")
        job.expand("1", add.si(1, 1))
        raise JobNotFound("no plan")

    monkeypatch.setattr(job.another, "plan", miss)
    job.outbox_of(job.another).send_again(JOB, "1/^")

    assert "1/^" in job.noted
