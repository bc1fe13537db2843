"""Retries against races, streams and error callbacks, driven by hand: orders that workers seldom come to."""

from __future__ import annotations

from typing import NoReturn

import pytest
from celery import chain, chord, group
from celery.app.task import Context
from celery.exceptions import TimeLimitExceeded
from kombu.utils.json import dumps

from coordinator import race
from coordinator.compiler import compile_canvas
from coordinator.dispatcher import HEADER
from coordinator.errors import IllegalTransition, InvalidRequest, StateUnreachable
from coordinator.state.plans import FIRST_EPOCH
from coordinator.states import State
from tests.facade import opened
from tests.flows import add, double, fail, mark, total
from tests.integration.by_hand import JOB, WORKER, let_happen_before, open_stream
from tests.waiting import wait_until


@pytest.mark.parametrize(
    ("key", "open_steps", "stay"),
    [("1", ["1", "3"], set()), ("2", ["2", "3"], {"1"}), ("3", ["2", "3"], {"1"})],
    ids=["the winner", "its last step", "a loser"],
)
def test_race_is_decided_anew_when_the_job_is_retried_from_within_a_lane(key, open_steps, stay, hand):
    """Who lost races again, and who won must end again: else a lane that fails now leaves nobody to run."""
    job = hand(chain(race(chain(add.s(1, 1), double.s()), add.s(2, 2)), fail.si("after")))
    job.run("1", "2")
    job.break_at("4")

    job.state.retry_from(JOB, key)

    assert job.state.recorded(JOB) == stay
    assert job.frontier == open_steps
    assert job.progress == (len(stay), 5)
    for step in open_steps:
        assert job.state.state(JOB) == State.PROCESSING
        job.break_at(step)
    assert job.state.state(JOB) == State.FAILED


def test_what_stands_beside_stays_when_the_job_is_retried_from_a_step_in_the_winner(hand):
    """In its own lane only the step and what comes of it run again, also in what took a step's place."""
    job = hand(chain(race(add.s(1, 1), add.s(2, 2)), fail.si("after")))
    job.expand("1", chord([add.s(1, 1), add.s(2, 2)], total.s()))
    job.run("1/0", "1/1", "1/2")
    job.break_at("3")

    job.state.retry_from(JOB, "1/0")

    assert job.state.recorded(JOB) == {"1/1"} and job.frontier == ["1/0", "2"]
    job.run("1/0", "1/2")
    assert job.frontier == ["3"]


@pytest.mark.parametrize("in_lane", [False, True], ids=["forgotten", "its lane races again"])
def test_late_failure_is_refused_when_its_attempt_was_stopped_before_the_retry(in_lane, hand):
    """It speaks of an attempt that counts no more; the job that was retried does not fail by it."""
    parts = group(add.s(1, 1), add.s(2, 2))
    job = hand(race(parts) if in_lane else chain(add.s(1, 1), parts))
    if not in_lane:
        job.run("0")
    late = job.begin("1")
    assert job.break_at("2") == "failed"

    if in_lane:
        job.state.retry(JOB)
    else:
        job.state.retry_from(JOB, "0")

    assert job.fail("1", late) == "fenced"
    assert job.state.state(JOB) == State.PROCESSING


@pytest.mark.parametrize("from_step", [None, "1"], ids=["retry", "retry from"])
@pytest.mark.parametrize("ends", ["end", "fail"])
def test_error_callback_counts_no_more_when_it_still_runs_at_a_retry(ends, from_step, hand):
    """It neither fails the job, nor is it in the way of the callback of the next failure."""
    job = hand(chain(add.s(1, 1), double.s()).on_error(mark.s("x")))
    job.run("0")
    job.break_at("1")
    late = job.begin("2")

    if from_step is None:
        job.state.retry(JOB)
    else:
        job.state.retry_from(JOB, from_step)

    assert getattr(job, ends)("2", late) == "fenced"
    assert job.state.state(JOB) == State.PROCESSING and job.progress == (1, 2)
    assert job.break_at("1") == "failed"
    assert job.begin("2") == late + 1


def test_error_callback_is_not_called_when_the_job_fails_elsewhere_after_a_retry(hand):
    """Its message may have lain in the queue since the failure of before, which is mended."""
    job = hand(chain(add.s(1, 1).on_error(mark.s("x")), fail.si("y")))
    job.break_at("0")
    job.state.retry(JOB)
    job.run("0")
    assert job.break_at("1") == "failed"

    assert job.begin("2") == "stopped"


def test_error_callback_is_called_when_it_stands_in_a_lane_that_failed(hand):
    """That of a canvas which took a step's place in a race: all lanes are out, and the job has failed."""
    job = hand(race(add.s(1, 1), fail.si("x")))
    job.expand("1", chain(add.s(1, 1), double.s()).on_error(mark.s("x")))
    job.break_at("2")
    assert job.break_at("1/0") == "failed"

    number = job.begin("1/2")

    assert job.state.renew(JOB, "1/2", WORKER) == ["renewed", "failed"]
    assert job.end("1/2", number) == "recorded"
    job.state.retry(JOB)
    assert job.frontier == ["1/0", "2"] and job.progress == (0, 5)


def test_crashes_of_before_do_not_count_when_the_job_is_retried_from_another_step(hand):
    """As with ``retry`` of the whole: every step starts over."""
    job = hand(chain(add.s(1, 1), group(double.s(), double.s())))
    job.run("0")
    while isinstance(number := job.begin("1"), int):
        job.state.release(JOB, "1", "lost", WORKER)
    assert number == "exhausted"
    job.run("2")
    attempts = job.state.begun(JOB)["1"]
    assert job.fail("1", attempts) == "failed"

    job.state.retry_from(JOB, "2")

    assert job.begin("1") == attempts + 1


def test_canvas_runs_when_a_stream_stood_in_its_place_before(hand):
    """Its steps have the numbers of batches; they are not taken for those, nor a late batch for one."""
    job = hand(chain(add.s(1, 1), double.s(), fail.si("x")))
    job.run("0")
    open_stream(job, "1", 3)
    late = job.begin("1/0")
    job.break_at("1/1")
    job.state.retry_from(JOB, "0")
    job.run("0")

    job.expand("1", group(add.s(1, 1), add.s(2, 2)))

    number = job.begin("1/0")
    assert number > late
    assert job.end("1/0", late) == "fenced"
    assert job.end("1/0", number) == "recorded"
    job.run("1/1")
    assert job.frontier == ["2"]


def test_late_batch_is_refused_when_a_canvas_stands_in_its_place_and_another_attempt_had_recorded_it(hand):
    """The numbers of a recorded batch's attempts are not given again to the canvas' step of the same key."""
    job = hand(chain(add.s(1, 1), double.s()))
    job.run("0")
    open_stream(job, "1", 2)
    late = job.begin("1/0")
    job.state.release(JOB, "1/0", "lost", WORKER)
    turn = dumps({"count": 1, "failed": 0, "failures": {}, "item_us": 1})
    assert job.end("1/0", job.begin("1/0"), turn) == "recorded"
    job.break_at("1/1")
    job.state.retry_from(JOB, "1")
    job.expand("1", group(add.s(1, 1), add.s(2, 2)))

    number = job.begin("1/0")

    assert job.end("1/0", late) == "fenced"
    assert job.end("1/0", number) == "recorded"


def test_tune_is_refused_clearly_when_its_each_was_forgotten_and_has_not_begun_again(hand):
    """There is nothing to tune yet, as before it began the first time."""
    job = hand(chain(add.s(1, 1), double.s()))
    job.run("0")
    open_stream(job, "1", 2)
    job.break_at("1/0")
    job.state.retry_from(JOB, "1")

    with pytest.raises(InvalidRequest, match="runs no batches"):
        job.state.tune(JOB, "1", window=3, batch=None)


@pytest.mark.parametrize("from_step", [None, "1"], ids=["retry", "retry from"])
def test_lane_races_again_when_it_failed_before_its_each_had_read_a_page(from_step, hand):
    """No item of it is counted as lost, and none is counted back: minus nothing is no number to Redis."""
    job = hand(race(add.s(1, 1), add.s(2, 2)))
    open_stream(job, "1", None)
    job.break_at("1/0")
    job.break_at("2")

    if from_step is None:
        job.state.retry(JOB)
    else:
        job.state.retry_from(JOB, from_step)

    assert job.state.state(JOB) == State.PROCESSING
    assert job.progress == (0, 3)


@pytest.mark.parametrize(("share", "items", "may"), [(0.29, 100, 29), (0.57, 100, 57), (0.01, 1000, 10)])
def test_items_may_fail_when_their_share_is_no_exact_number(share, items, may, hand):
    """0.29 of 100 is 28.999… in floating point."""
    job = hand(chain(add.s(1, 1), double.s()))
    job.run("0")
    open_stream(job, "1", items, batch=items, allow_failed=share)
    number = job.begin("1/0")

    answers = [
        job.end("1/0", number, dumps({"count": items, "failed": failed, "failures": {}, "item_us": 1}))
        for failed in (may + 1, may)
    ]

    assert answers == ["over", "recorded"]


def test_batches_are_cut_a_thousand_at_once_when_the_window_is_wider(hand):
    """A script that cuts a million holds up all jobs of that Redis for its while."""
    job = hand(chain(add.s(1, 1), double.s()))
    job.run("0")
    turn = dumps({"count": 1, "failed": 0, "failures": {}, "item_us": 1})

    open_stream(job, "1", 2500, window=2500)
    flying = [len(job.frontier)]
    for step in ("1/0", "1/1"):
        assert job.end(step, job.begin(step), turn) == "recorded"
        flying.append(len(job.frontier))

    assert flying == [1000, 1999, 2498]


def test_step_that_asks_goes_on_when_redis_is_away(own_redis, redis_server):
    """Whether its job was cancelled is not known then, which is no reason to fail."""
    with opened({"BROKER_URL": redis_server.url(0), "REDIS_URL": own_redis.url(1)}) as facade:
        task = facade.app.tasks["tests.flows.until_cancelled"]
        job = facade.launch(task.s("x"))
        task.push_request(**{HEADER: {"job": job, "key": "0"}})
        own_redis.stop()
        assert task.cancelled is False
        own_redis.start()

        facade.cancel(job)

        wait_until(lambda: task.cancelled, what="the step to see it")
        task.pop_request()


def test_job_fails_again_when_no_message_can_be_made_after_a_retry_either(hand):
    """Else it would stand for ever: nothing of it is under way."""
    job = hand(add.s(1, 1))
    unsendable = {"step": "0", "task": "any", "type": "StepUnsendable", "message": "no", "traceback": ""}
    assert job.state.fail(JOB, "0", unsendable, owner="?") == "failed"

    job.state.retry(JOB)

    assert job.state.fail(JOB, "0", unsendable, owner="?") == "failed"
    job.state.retry(JOB)
    job.begin("0")
    assert job.state.fail(JOB, "0", unsendable, owner="?") == "already"


EXPIRED = {"step": "1", "task": "any", "type": "TaskRevokedError", "message": "expired", "traceback": ""}


def test_job_does_not_fail_when_a_message_expires_that_was_sent_before_a_retry_from_an_earlier_step(hand):
    """It is not even that step's turn; and no message can be made of what stood there in another epoch."""
    job = hand(chain(add.s(1, 1), double.s().set(expires=60)))
    job.run("0")
    sent = job.state.look_at_epoch(JOB)
    job.state.cancel(JOB)
    job.state.retry_from(JOB, "0")
    job.begin("0")

    assert job.state.fail(JOB, "1", EXPIRED, owner="?", epoch=sent) == "already"
    assert job.state.state(JOB) == State.PROCESSING
    present = job.state.look_at_epoch(JOB)
    assert job.state.fail(JOB, "1", EXPIRED, owner="?", epoch=present) == "failed"


def test_job_does_not_fail_when_a_message_expires_while_it_is_paused(hand):
    """Its workers may be down for that time; the step is sent again when the job goes on."""
    job = hand(chain(add.s(1, 1), double.s().set(expires=60)))
    job.run("0")
    job.state.pause(JOB)

    assert job.state.fail(JOB, "1", EXPIRED, owner="?", epoch=FIRST_EPOCH) == "already"
    assert job.state.state(JOB) == State.PAUSED
    job.state.resume(JOB)
    job.outbox_of(job.state).send_again(JOB, "*")
    assert job.wire.sent == ["1"]


def test_job_does_not_fail_when_the_message_of_its_error_callback_expires_after_a_retry(hand):
    """It speaks of a failure that is past; while the job has failed, the callback is not called again."""
    job = hand(chain(add.s(1, 1), double.s()).on_error(mark.s("x").set(expires=60)))
    job.break_at("0")
    callback = {"owner": "?", "epoch": FIRST_EPOCH, "phase": job.step("2").phase}
    assert job.state.fail(JOB, "2", EXPIRED, **callback) == "noted"

    job.state.retry(JOB)

    assert job.state.fail(JOB, "2", EXPIRED, **callback) == "already"
    assert job.state.state(JOB) == State.PROCESSING


def test_message_tells_its_epoch_and_its_phase_when_it_expires(coordinator, monkeypatch):
    """The backend hears of it from Celery, with the request that the message was made into."""
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(
        coordinator.state_manager, "fail", lambda *_, epoch, phase, **__: told.append((epoch, phase))
    )
    for header in ({"job": "x", "key": "0", "phase": "work", "epoch": "3"}, {"phase": "errback"}):
        request = Context({HEADER: header, "hostname": "w"})
        coordinator.app.backend.mark_as_revoked("x:0.add", "expired", request)

    assert told == [("3", "work"), (FIRST_EPOCH, "errback")]


@pytest.mark.brokers("rabbitmq")
def test_worker_goes_on_when_it_finds_that_a_step_failed_while_redis_is_away(coordinator, monkeypatch):
    """By a message that expired, or a limit: the error kept it from acknowledging, and it had a slot less."""

    def be_away(*_: object, **__: object) -> NoReturn:
        raise StateUnreachable("no answer")

    monkeypatch.setattr(coordinator.state_manager, "fail", be_away)
    request = Context({HEADER: {"job": "x", "key": "0", "phase": "work"}, "hostname": "w"})

    coordinator.app.backend.mark_as_revoked("x:0.add", "expired", request)
    coordinator.app.backend.mark_as_failure("x:0.add", TimeLimitExceeded(1), request=request)


def test_fence_grows_when_a_step_that_expanded_runs_again(hand):
    """What an earlier attempt still writes elsewhere must meet a higher number."""
    job = hand(chain(add.s(1, 1), fail.si("x")))
    job.expand("0", add.s(1, 1))
    job.run("0/0")
    job.break_at("1")

    job.state.retry_from(JOB, "0")

    assert job.begin("0") == 2


def test_fence_grows_when_an_error_callback_is_called_again(hand):
    """Its record goes at the retry, not the number that it ran under."""
    job = hand(chain(add.s(1, 1), double.s()).on_error(mark.s("x")))
    for call in (1, 2):
        job.break_at("0")
        number = job.begin("2")
        assert number == call
        job.end("2", number)
        job.state.retry(JOB)


def test_canvas_is_forgotten_when_a_step_expands_while_its_job_is_retried(hand, monkeypatch):
    """Between the look at the journal and the script that forgets: it looks again."""
    job = hand(chain(add.s(1, 1), double.s()))
    job.run("0")
    number, step = job.begin("1"), job.step("1")
    job.state.cancel(JOB)
    plan = compile_canvas(add.s(1, 1), prefix="1/", end=(("up", "1"), *step.follow))
    begun = job.state.begun

    def expand_meanwhile(name: str) -> dict[str, int]:
        job.state.expand(JOB, "1", number, plan)
        return begun(name)

    monkeypatch.setattr(job.state, "begun", expand_meanwhile)
    job.state.retry_from(JOB, "0")

    assert job.state.fragments(JOB) == {}
    assert job.frontier == ["0"] and job.progress == (0, 2)


def test_step_is_forgotten_when_it_begins_while_its_job_is_taken_back_by_another(hand):
    """It ran on with a value that was forgotten, and the job ended with one of two steps recorded."""
    job = hand(chain(add.s(1, 1), double.s()))
    job.run("0")
    job.state.cancel(JOB)
    begun = []

    def begin_meanwhile() -> None:
        job.state.retry(JOB)
        begun.append(job.begin("1"))
        job.state.cancel(JOB)

    let_happen_before(job.another, "_steer", begin_meanwhile)
    job.another.retry_from(JOB, "0")

    assert job.end("1", begun[0]) == "fenced"
    assert job.state.recorded(JOB) == set()
    job.run("0", "1")
    assert job.state.state(JOB) == State.SUCCEEDED and job.progress == (2, 2)


def test_fence_grows_when_two_take_the_job_back_from_the_same_step(hand):
    """The journal had as many records as before, but others; a number was given twice."""
    job = hand(chain(add.s(1, 1), double.s()))
    job.run("0")
    job.state.cancel(JOB)
    fences = []

    def run_again_meanwhile() -> None:
        for _ in range(2):
            job.state.retry_from(JOB, "0")
            fences.append(job.begin("0"))
            job.end("0", fences[-1])
            job.state.cancel(JOB)

    let_happen_before(job.another, "_steer", run_again_meanwhile)
    job.another.retry_from(JOB, "0")

    assert [*fences, job.begin("0")] == [2, 3, 4]


def test_entry_is_left_for_later_when_no_connection_can_be_made_and_nothing_is_to_be_sent(hand, monkeypatch):
    """No step is to blame for it; they were halved without end."""
    job = hand(add.s(1, 1))
    job.begin("0")

    def refuse(*_: object, **__: object) -> NoReturn:
        raise TypeError("an option of the broker's that the transport does not know")

    monkeypatch.setattr(job.wire, "send", refuse)
    with pytest.raises(TypeError):
        job.outbox_of(job.state).send_again(JOB, "^")

    assert "^" in job.noted


def test_command_is_done_once_and_not_refused_when_its_answer_was_lost(hand, monkeypatch):
    """The client makes the call again. It found its own cancel, and said that the job can't be cancelled."""
    job = hand(chain(add.s(1, 1), double.s()))
    scripts = job.state._run
    ask = scripts.keeping
    monkeypatch.setattr(scripts, "keeping", lambda *call: (ask(*call), ask(*call))[1])

    job.state.pause(JOB)
    job.state.resume(JOB)
    job.state.cancel(JOB)
    job.state.retry(JOB)
    job.state.cancel(JOB)
    job.state.retry_from(JOB, "0")

    done = [event.event for event in job.state.events(JOB)]
    assert done[2:] == ["paused", "resumed", "cancelled", "retried", "cancelled", "retried"]
    with pytest.raises(IllegalTransition):
        job.another.retry(JOB)
