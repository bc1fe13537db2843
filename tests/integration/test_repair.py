"""Running steps are looked after, lost ones repaired; neither waits for the other, nothing sound is ended."""

from __future__ import annotations

import os
import threading
import time
from types import SimpleNamespace

import pytest
from celery import chain, chord, group
from celery.worker import state as worker_state

from coordinator import reconciler, watermark
from coordinator.attempt import owner_of
from coordinator.errors import BrokerUnreachable, StateUnreachable
from coordinator.plan import PlannedStep
from coordinator.reconciler import ReconcilerStep
from coordinator.renewal import Renewal
from coordinator.state.plans import FIRST_EPOCH
from coordinator.watermark import Watermark
from tests.facade import running
from tests.flows import add, double, hooked, mark, slowly, total
from tests.integration.by_hand import JOB, WORKER, let_happen_before
from tests.waiting import wait_until

OTHER = "v~1#"


# -- renewal: which running steps are ended ----------------------------------


def test_worker_is_left_in_peace_when_its_attempt_has_ended(hand):
    """It still sends what follows, or calls hooks; killed, it would have to send it all again, and again."""
    job = hand(chain(add.s(1, 1), double.s(), double.s()))
    job.run("0")
    assert job.state.renew(JOB, "0", WORKER)[0] == "over"

    job.expand("1", chord([add.s(1, 1), add.s(2, 2)], total.s()))
    assert job.state.renew(JOB, "1", WORKER)[0] == "over"

    job.run("1/0", "1/1", "1/2")
    job.state.defer(JOB, "2", job.begin("2"), 100_000, "later")
    assert job.state.renew(JOB, "2", WORKER)[0] == "over"


def test_worker_is_told_to_end_a_step_when_another_has_taken_or_recorded_it(hand):
    """Its result would be refused: what it does now is in vain."""
    job = hand(chain(add.s(1, 1), double.s()))
    attempt = job.begin("0")
    assert job.state.renew(JOB, "0", OTHER)[0] == "lost"

    job.end("0", attempt)
    assert job.state.renew(JOB, "0", OTHER)[0] == "lost"


@pytest.mark.brokers("rabbitmq")
def test_hook_is_called_to_its_end_when_it_lasts_longer_than_the_grace(
    coordinator, start_worker, services, tmp_path
):
    """The step is recorded before it: nobody would call the hook again."""
    services.env.update(COORDINATOR_GRACE_S="0.2", COORDINATOR_TICK_S="0.1")
    start_worker(concurrency=1)
    gate, client = tmp_path / "gate", coordinator.state_manager.client

    def scripts() -> int:
        return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])

    assert coordinator.wait(coordinator.launch(hooked.si(str(gate))), timeout_s=20) == 1
    before = scripts()
    wait_until(lambda: scripts() > before + 50, what="the ticks of more than a second: a few scripts each")
    gate.touch()

    wait_until((tmp_path / "gate.seen").exists, what="the hook to end")


@pytest.fixture
def active(monkeypatch):
    """The requests that a worker runs now."""
    requests: list[object] = []
    monkeypatch.setattr(worker_state, "active_requests", requests)
    return requests


@pytest.mark.brokers("rabbitmq")
def test_lease_is_lengthened_when_the_hosts_clock_was_set_back_while_the_step_runs(coordinator, active):
    """Celery tells by that clock when it started: it seemed not to have, until its lease ran out."""
    job, state = coordinator.launch(add.s(1, 1)), coordinator.state_manager
    state.begin(job, state.plan(job).by_key["0"], owner_of("w@h"))
    (leases,) = state.keys.named(job, "leases")
    state.client.zadd(leases, {f"{job}|0": 1})
    active.append(SimpleNamespace(id=f"{job}:0.add", time_start=time.time() + 60))

    Renewal(coordinator._parts, "w@h").tick()

    assert state.client.zscore(leases, f"{job}|0") > 1


@pytest.mark.brokers("rabbitmq")
def test_leases_are_lengthened_when_the_redis_of_other_jobs_is_away(coordinator, active, monkeypatch):
    """A cluster's node: a call to it takes seconds, so one of those that failed is tried again in a tick."""
    asked, is_away = [], {"away-1", "away-2"}

    def renew(job: str, *_: object) -> list[str]:
        asked.append(job)
        if job in is_away:
            raise StateUnreachable("no answer")
        return ["renewed", "processing"]

    monkeypatch.setattr(coordinator.state_manager, "renew", renew)
    active += [SimpleNamespace(id=f"{job}:0.add", time_start=1) for job in ("away-1", "away-2", "here")]
    looks = Renewal(coordinator._parts, "w@h")
    for _ in range(3):
        with pytest.raises(StateUnreachable):
            looks.tick()
    is_away.clear()
    looks.tick()

    first, second, third, last = asked[:3], asked[3:5], asked[5:7], asked[7:]
    assert first == ["away-1", "away-2", "here"]
    assert (second, third) == (["here", "away-1"], ["here", "away-2"])
    assert sorted(last) == ["away-1", "away-2", "here"]


@pytest.mark.brokers("rabbitmq")
@pytest.mark.parametrize("has_ended", [False, True], ids=["it runs on", "it has ended"])
def test_process_is_ended_only_while_it_runs_the_step_that_was_to_stop(
    has_ended, elsewhere, active, monkeypatch
):
    """The calls for other steps may take seconds, where Redis is away: by then it runs another."""
    facade, ended = elsewhere(grace_s=0), []
    job, state = facade.launch(add.s(1, 1)), facade.state_manager
    state.begin(job, state.plan(job).by_key["0"], owner_of("w@h"))
    facade.cancel(job)
    active.append(SimpleNamespace(id=f"{job}:0.add", time_start=1, worker_pid=12345))
    monkeypatch.setattr(os, "kill", lambda pid, _: ended.append(pid))
    looks = Renewal(facade._parts, "w@h")
    looks.tick()
    if has_ended:
        let_happen_before(state, "renew", active.clear)

    looks.tick()

    assert ended == ([] if has_ended else [12345])


# -- threads: what goes on while something else lasts -------------------------


class Part:
    """A reconciler or a renewal that counts its ticks, and may be held up."""

    is_idle = False

    def __init__(self, *_: object) -> None:
        self.ticks, self.may_go_on = 0, threading.Event()
        self.may_go_on.set()

    def pause_s(self) -> float:
        return 0.01

    def tick(self) -> None:
        self.ticks += 1
        self.may_go_on.wait()


@pytest.fixture
def threads(monkeypatch):
    """A worker's step with two parts: renewal, repair."""
    parts = Part(), Part()
    monkeypatch.setattr(reconciler, "Renewal", lambda *_: parts[0])
    monkeypatch.setattr(reconciler, "Reconciler", lambda *_: parts[1])
    worker = SimpleNamespace(app=SimpleNamespace(parts=None), hostname="w@h")
    step = ReconcilerStep(worker)
    step.start(worker)
    yield step, *parts
    for part in parts:
        part.may_go_on.set()
    step.terminate(worker)


def goes_on(part: Part) -> None:
    before = part.ticks
    wait_until(lambda: part.ticks > before + 2, what="more ticks")


def test_leases_are_lengthened_when_repair_takes_long(threads):
    """Else every running step of the worker that repairs would be taken back, and run again."""
    _, leases, repair = threads
    repair.may_go_on.clear()
    wait_until(lambda: repair.ticks, what="the repair to be held up")

    goes_on(leases)


def test_leases_are_lengthened_until_the_last_step_ends_when_the_worker_shuts_down(threads):
    """The pool waits for running steps, however long: nobody else may take them meanwhile."""
    step, leases, repair = threads
    step.stop(None)
    repaired = repair.ticks

    goes_on(leases)

    assert repair.ticks == repaired
    leases.is_idle = True
    wait_until(lambda: "leases" not in [t.name for t in threading.enumerate()], what="the thread to end")


def test_leases_are_lengthened_no_more_when_the_worker_is_ended_at_once(threads):
    step, _, _ = threads

    step.terminate(None)

    wait_until(lambda: "leases" not in [t.name for t in threading.enumerate()], what="the thread to end")


def test_worker_is_idle_when_no_request_is_active(coordinator, monkeypatch):
    active: set[object] = set()
    monkeypatch.setattr(worker_state, "active_requests", active)
    looks = Renewal(coordinator._parts, "w@h")
    assert looks.is_idle

    active.add(object())

    assert not looks.is_idle


@pytest.mark.brokers("rabbitmq")
def test_step_ends_where_it_runs_when_its_worker_shuts_down_and_it_outlasts_its_lease(
    coordinator, start_worker, services
):
    """Another worker took it back and ran it again; the first result was refused."""
    services.env.update(COORDINATOR_LEASE_S="1", COORDINATOR_TICK_S="0.2")
    start_worker(concurrency=1)  # repairs, being the first
    jobs = [coordinator.launch(slowly.s(7, 6.0))]
    wait_until(lambda: running(coordinator, jobs[0]), what="the first step to run")
    second = start_worker(concurrency=1)
    jobs.append(coordinator.launch(slowly.s(7, 6.0)))
    wait_until(lambda: running(coordinator, jobs[1]), what="the other step to run")

    second.stop()  # waits for it

    for job in jobs:
        assert coordinator.wait(job, timeout_s=20) == 7
        assert [step.attempts for step in coordinator.steps(job)] == [1]


# -- repair -------------------------------------------------------------------


def test_lost_steps_are_sent_all_at_once_and_without_those_that_began(coordinator, monkeypatch):
    """One by one took a confirm each: so long for 20,000 that leases ran out."""
    job, sent = coordinator.launch(group(add.s(n, n) for n in range(5))), []
    state, parts = coordinator.state_manager, coordinator._parts
    monkeypatch.setattr(
        parts.dispatcher, "send", lambda _, steps, *args, **options: sent.append([s.key for s in steps])
    )
    state.begin(job, state.plan(job).by_key["2"], owner_of("w@h") + "1")

    assert parts.outbox.send_lost(job, {"0", "1", "2"}) == 2

    assert sent == [["0", "1"]]
    assert state.noted(job, {"=0", "=1", "=2"}) == set()


@pytest.mark.brokers("rabbitmq")
def test_journal_is_read_once_when_many_steps_of_a_job_are_due(coordinator, monkeypatch):
    """Read for each of them, a fan-out that was to be tried again took minutes, and held up all repair."""
    job, sent = coordinator.launch(group(add.s(n, n) for n in range(40))), []
    state, parts = coordinator.state_manager, coordinator._parts
    for step in state.plan(job).steps:
        number = state.begin(job, step, owner_of("w@h") + step.key)[1]
        state.defer(job, step.key, number, 0, "again")
    monkeypatch.setattr(
        parts.dispatcher, "send", lambda _, steps, *__, **___: sent.extend(s.key for s in steps)
    )
    state.client.config_resetstat()

    reconciler.Reconciler(parts, "w@h").fire_timers(state.keys.shard_of(job))

    assert sorted(sent, key=int) == [str(n) for n in range(40)]
    calls = state.client.info("commandstats")
    assert (calls["cmdstat_hexists"]["calls"], "cmdstat_hkeys" in calls) == (40, False)
    assert state.noted(job, {f"={n}" for n in range(40)}) == set()


@pytest.mark.brokers("rabbitmq")
def test_step_is_sent_again_when_the_queue_of_another_one_that_is_due_takes_nothing(coordinator, monkeypatch):
    """Sent together they would both wait, each time."""
    job, sent = coordinator.launch(group(add.s(n, n) for n in range(3))), []
    state, parts = coordinator.state_manager, coordinator._parts
    state.note_outbox(job, "=0", "=1", "=2")

    def send(_job: str, steps: list[PlannedStep], *_: object, **__: object) -> None:
        if "1" in [step.key for step in steps]:
            raise BrokerUnreachable("its queue is another sort")
        sent.extend(step.key for step in steps)

    monkeypatch.setattr(parts.dispatcher, "send", send)
    reconciler.Reconciler(parts, "w@h")._send_all([f"{job}|={key}" for key in "012"])

    assert sent == ["0", "2"]
    assert state.noted(job, {"=0", "=1", "=2"}) == {"=1"}


def test_error_callback_stays_in_the_outbox_when_it_is_sent_together_with_other_steps(hand):
    """Until it has ended: nobody looks for lost messages of a job that has failed."""
    job = hand(chain(add.s(1, 1), double.s()).on_error(mark.s("x")))
    job.break_at("0")
    job.state.note_outbox(JOB, "=1")

    assert job.outbox_of(job.another).send_all_again(JOB, ["=1", "=2"]) == 1

    assert job.wire.sent == ["2"]
    assert "=1" not in job.noted and "=2" in job.noted


def test_step_is_in_the_outbox_until_it_begins_when_its_child_was_lost(hand):
    """Its message may have come while the lease was held: then the broker delivers it no more."""
    job = hand(add.s(1, 1))
    job.begin("0")

    assert job.state.release(JOB, "0", "lost", WORKER) == "released"

    assert job.state.noted(JOB, {"=0"}) == {"=0"}
    job.begin("0")
    assert job.state.noted(JOB, {"=0"}) == set()


def test_entry_stays_when_it_was_noted_after_a_retry_from_that_its_sender_did_not_see(hand):
    """A message of before is given back, and noted: that note is not the sender's to take off."""
    job = hand(chain(add.s(1, 1), double.s()))
    before = job.another.look_at_epoch(JOB)
    job.run("0")
    job.state.cancel(JOB)
    job.state.retry_from(JOB, "0")
    job.state.note_outbox(JOB, "=1")

    job.another.sent(JOB, ["=1"], before)
    assert job.state.noted(JOB, {"=1"}) == {"=1"}

    job.another.sent(JOB, ["=1"], job.another.look_at_epoch(JOB))
    assert job.state.noted(JOB, {"=1"}) == set()


def test_entry_stays_when_it_was_noted_anew_within_the_same_millisecond(hand):
    """By a lease that ran out, or a retry, just after its sender looked; its process may be killed then."""
    job = hand(add.s(1, 1))
    for _ in range(100):
        seen = job.state.note_outbox(JOB, "=0")
        job.state.note_outbox(JOB, "=0")

        job.another.sent(JOB, ["=0"], FIRST_EPOCH, seen)

        assert "=0" in job.noted
        job.another.sent(JOB, ["=0"], FIRST_EPOCH, job.another.noted_at(JOB, "=0"))
        assert "=0" not in job.noted


def test_probe_goes_the_way_of_the_step_when_that_has_a_priority(coordinator, monkeypatch):
    """On Redis a probe without one is the most urgent message: it overtook the step, which seemed lost."""
    monkeypatch.setattr(watermark, "SETTLE_S", 0.0)
    job, probes, sent = coordinator.launch(add.s(1, 1).set(priority=5)), [], []
    state, parts = coordinator.state_manager, coordinator._parts
    monkeypatch.setattr(
        parts.dispatcher, "dispatch_task", lambda _, payload, **where: probes.append((payload, where))
    )
    monkeypatch.setattr(parts.outbox, "send_lost", lambda *lost: sent.append(lost) or 1)
    looks = Watermark(parts)

    looks.suspect(job, is_first=True)
    looks.settle(float("inf"))
    ((payload, where),) = probes
    assert where == {"queue": coordinator.settings.queue, "priority": 5}
    assert sent == []

    state.note_probe(payload["lane"], payload["sent_ms"])
    looks.settle(float("inf"))
    assert sent == [(job, {"0"})]


@pytest.mark.brokers("rabbitmq")
def test_step_is_not_taken_for_lost_when_the_clock_of_redis_was_set_back(coordinator, monkeypatch):
    """Until it came there again the last probe seemed newer than all: what only waited was sent once more."""
    monkeypatch.setattr(watermark, "SETTLE_S", 0.0)
    job, probes, sent = coordinator.launch(add.s(1, 1)), [], []
    state, parts = coordinator.state_manager, coordinator._parts
    state.note_probe(coordinator.settings.queue, state.now_ms() + 3_600_000)
    monkeypatch.setattr(parts.dispatcher, "dispatch_task", lambda _, payload, **__: probes.append(payload))
    monkeypatch.setattr(parts.outbox, "send_lost", lambda *lost: sent.append(lost) or 1)
    looks = Watermark(parts)

    looks.suspect(job, is_first=True)
    looks.settle(float("inf"))
    assert (len(probes), sent) == (1, [])

    state.note_probe(**probes[0])
    looks.settle(float("inf"))
    assert sent == [(job, {"0"})]


def test_step_is_sent_again_without_a_look_at_the_whole_job(hand, monkeypatch):
    """Of a job of a hundred thousand steps two hundred may have lost their worker at once."""
    job = hand(chain(group(add.s(n, n) for n in range(3)), double.si(1)))
    job.run("0", "1", "2")
    job.state.note_outbox(JOB, "=3")
    monkeypatch.setattr(job.state.client, "hkeys", lambda *_: pytest.fail("all that is recorded was read"))

    assert job.outbox_of(job.state).send_again(JOB, "=3") == 1
    assert job.wire.sent == ["3"]
