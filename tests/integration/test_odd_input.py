"""Strange but legal input: it ends its own job at worst, and holds up no other."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from celery import chain, chord, group

from coordinator import race, reconciler
from coordinator.attempt import owner_of
from coordinator.errors import InvalidRequest, JobFailed, UnsupportedCanvas
from coordinator.reconciler import Reconciler
from coordinator.states import State, StepState
from tests.flows import add, countdown_by_replace, double, fail, mark, total, wait_for_file
from tests.integration.by_hand import JOB
from tests.waiting import wait_until

UNREADABLE = {"__type__": "nope", "__value__": 1}

pytestmark = pytest.mark.brokers("rabbitmq")


def kept_for_ever(coordinator, job: str) -> list[str]:
    state = coordinator.state_manager
    names = state.keys.named(job, "m p r x g f e a b s v")
    return [name for name in names if state.client.pttl(name) == -1]


def leave_in_outbox(coordinator, monkeypatch, canvas, key: str) -> str:
    """Launch as a submitter that is killed before it sends."""
    with monkeypatch.context() as patched:
        patched.setattr(coordinator._parts.outbox, "send_first", lambda *_: 0)
        return coordinator.launch(canvas, key=key)


@pytest.mark.parametrize(
    "options",
    [{"countdown": float("inf")}, {"countdown": float("nan")}, {"priority": 300}],
    ids=str,
)
def test_canvas_is_refused_when_an_option_can_never_be_sent(options, coordinator):
    """Found at submit, and nothing of the job is left."""
    with pytest.raises(UnsupportedCanvas, match="expected the option"):
        coordinator.launch(add.s(1, 1).set(**options))

    assert coordinator.jobs() == []


def test_value_is_refused_when_it_could_not_be_read_back(coordinator):
    """kombu reads an object of __type__ and __value__ as a value of that type, or raises."""
    with pytest.raises(UnsupportedCanvas, match="__type__"):
        coordinator.launch(add.s(UNREADABLE, 1))
    with pytest.raises(InvalidRequest, match="__type__"):
        coordinator.submit("sum_to", {"n": UNREADABLE})

    assert coordinator.jobs() == []


@pytest.mark.parametrize(
    "options", [{"compression": "nonsense"}, {"queue": "q" * 300}], ids=["name", "length"]
)
def test_job_fails_when_no_message_can_be_made_of_a_step(options, coordinator):
    """It would stand for ever otherwise; the error says which task, and what is wrong."""
    job = coordinator.launch(add.s(1, 1).set(**options))

    with pytest.raises(JobFailed, match=r"no message can be made of tests\.flows\.add"):
        coordinator.wait(job, timeout_s=5)
    assert coordinator.status(job).error["type"] == "StepUnsendable"


def test_other_jobs_are_sent_when_one_can_be_routed_nowhere(coordinator, start_worker, monkeypatch):
    """What was left of others is not held up by it, whatever shard they are in."""
    nowhere = coordinator.launch(add.s(1, 1).set(exchange="nowhere", routing_key="nowhere"))
    others = [leave_in_outbox(coordinator, monkeypatch, add.s(1, n), f"left-{n}") for n in range(20)]
    assert len({coordinator.state_manager.keys.shard_of(job) for job in others}) > 8

    start_worker()

    assert [coordinator.wait(job, timeout_s=20) for job in others] == list(range(1, 21))
    assert coordinator.status(nowhere).state == State.PROCESSING


def test_step_runs_when_its_id_is_longer_than_an_amqp_property(coordinator, start_worker):
    """A step that puts itself in its own place again and again: each time its id grows."""
    start_worker()

    assert coordinator.wait(coordinator.launch(countdown_by_replace.s(140)), timeout_s=60) == 0


def test_value_is_found_when_steps_replaced_one_another_more_often_than_python_recurses(hand):
    """The job has succeeded: what follows, and whoever waits, must get its value."""
    job, key = hand(add.s(1, 1)), "0"
    for _ in range(500):
        job.expand(key, add.s(1, 1))
        key += "/0"

    job.run(key)

    assert job.state.result(JOB) == key


def test_error_is_kept_when_its_message_is_no_utf8(coordinator, start_worker):
    """As that of a file whose name is no text: the job fails with it, not with another."""
    start_worker()
    job = coordinator.launch(fail.s("no such file: \udcff"))

    with pytest.raises(JobFailed, match=r"no such file"):
        coordinator.wait(job, timeout_s=20)

    held = coordinator.launch(add.s(1, 1).set(countdown=60))
    assert coordinator.cancel(held, "because of \udcff").reason == "because of \\udcff"


def test_result_is_recorded_once_when_it_is_said_again_and_is_no_utf8(coordinator):
    """The second time, as after a lost answer, a script looks at who recorded it."""
    job = coordinator.launch(add.s(1, 1))
    state = coordinator.state_manager
    step = state.plan(job).steps[0]
    attempt = int(state.begin(job, step, owner_of("w") + "1")[1])
    record = f'["\\udcff", {attempt}, 1, 1, "w@host"]'

    assert state.finish(job, step.key, attempt, record, ()) == ["recorded"]
    assert state.finish(job, step.key, attempt, record, ()) == ["already"]
    assert state.finish(job, step.key, attempt + 1, record, ()) == ["already"]
    assert [event.event for event in state.events(job)].count("fenced") == 1


def test_every_wait_ends_when_more_wait_than_redis_py_has_connections(coordinator, start_worker):
    """Each that waits has a subscription of its own."""
    job = coordinator.launch(add.s(1, 2))
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(coordinator.wait(job, timeout_s=40))) for _ in range(150)
    ]
    for thread in threads:
        thread.start()
    start_worker()
    for thread in threads:
        thread.join()

    assert Counter(found) == {3: 150}


def test_nothing_is_kept_for_ever_when_steps_end_after_their_job(coordinator, start_worker, tmp_path):
    """A key that is first written then goes with its job."""
    start_worker(concurrency=3)
    gate = tmp_path / "gate"
    late = group(wait_for_file.s(str(gate)), wait_for_file.s(str(tmp_path / "never"), 2))
    job = coordinator.launch(chord(late, total.s()))
    wait_until(lambda: Counter(s.state for s in coordinator.steps(job))[StepState.RUNNING] == 2)
    coordinator.cancel(job)

    gate.touch()

    states = [StepState.SUCCEEDED, StepState.FAILED]
    wait_until(lambda: [s.state for s in coordinator.steps(job)][:2] == states, what="both to end")
    assert kept_for_ever(coordinator, job) == []


def test_nothing_is_kept_for_ever_when_an_error_callback_runs(coordinator, start_worker, tmp_path):
    """It begins after its job has ended, here before anything of the job has begun."""
    path = tmp_path / "called"
    late = add.s(1, 1).set(countdown=60).on_error(mark.s(str(path)))
    job = coordinator.launch(late, deadline_s=0.1)

    start_worker()

    wait_until(path.exists, what="the callback")
    callback = wait_until(lambda: [s for s in coordinator.steps(job) if s.state == StepState.SUCCEEDED])
    assert len(callback) == 1
    assert kept_for_ever(coordinator, job) == []


def test_index_of_jobs_is_pruned_when_they_are_kept_no_longer(coordinator, monkeypatch):
    """Else it would grow for ever, and with it what ``list`` must look through."""
    monkeypatch.setattr(reconciler, "PRUNED_EVERY_S", 0)
    monkeypatch.setattr(reconciler, "PRUNED_AT_ONCE", 3)
    state, repair = coordinator.state_manager, Reconciler(coordinator._parts, "w@host")
    kept = coordinator.launch(add.s(1, 1))
    for job in (kept, *(f"gone-{n}" for n in range(50))):
        state.client.zadd(state.keys.named(job, "jobs")[0], {job: 1})

    for _ in range(60):
        repair.prune_jobs()

    assert state.counts()["jobs"] == 1
    assert [job.id for job in coordinator.jobs()] == [kept]


def test_job_stays_listed_when_it_is_submitted_while_one_of_its_id_is_pruned(coordinator, monkeypatch):
    """The one of before is gone, and somebody gives its key again at that moment."""
    state = coordinator.state_manager
    index = state.keys.named("again", "jobs")[0]
    state.client.zadd(index, {"again": 1})

    def submit(*_: object) -> None:
        monkeypatch.undo()
        coordinator.launch(add.s(1, 1), key="again")

    for owner, call in ((state.client, "zrem"), (state, "_run")):
        real = getattr(owner, call)
        monkeypatch.setattr(owner, call, lambda *args, real=real: (submit(), real(*args))[1])

    state.prune(state.keys.shard_of("again"), 0, 10)

    assert [job.id for job in coordinator.jobs()] == ["again"]


def test_plans_are_forgotten_when_another_thread_remembers_some(coordinator):
    """A worker with threads has one memory of plans."""
    state = coordinator.state_manager
    blob = state.plan(coordinator.launch(add.s(1, 1))).dumps()
    ended = threading.Event()

    def remember() -> None:
        number = 0
        while not ended.is_set():
            state.remember_blob(f"job-{number % 100}", blob)
            number += 1

    thread = threading.Thread(target=remember)
    thread.start()
    try:
        for epoch in range(20_000):
            state.notice_epoch("job-1", str(epoch))
    finally:
        ended.set()
        thread.join()


def test_celery_says_revoked_when_a_step_has_lost_its_race(coordinator, start_worker):
    """``AsyncResult.get`` raises what Celery raises for a revoked task."""
    from celery.exceptions import TaskRevokedError

    start_worker()
    job = coordinator.launch(race(add.s(1, 2), chain(add.s(1, 1).set(countdown=60), double.s())))
    assert coordinator.wait(job, timeout_s=20) == 3
    lost = next(step for step in coordinator.steps(job) if step.state == StepState.LOST)

    with pytest.raises(TaskRevokedError):
        coordinator.app.AsyncResult(lost.id).get(timeout=5)
