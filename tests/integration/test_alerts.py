"""Alerts reach their channels: sent by real steps, through Apprise, to a real HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordinator import Coordinator
from coordinator.alerting.relay import KIND, Relay
from coordinator.alerting.rules import Rules
from coordinator.alerting.stalls import Stalls
from coordinator.errors import JobFailed, JobRejected
from coordinator.notifier import Notifier
from coordinator.states import State, StepState
from tests.conftest import Services
from tests.flows import add, fail, wait_for_file
from tests.servers.receiver import SECRET, Receiver
from tests.waiting import wait_until


@pytest.fixture
def make_receiver() -> Iterator[Callable[[], Receiver]]:
    started: list[Receiver] = []

    def make() -> Receiver:
        receiver = Receiver()
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        started.append(receiver)
        return receiver

    yield make
    for receiver in started:
        receiver.shutdown()
        receiver.server_close()


@pytest.fixture
def ops(make_receiver: Callable[[], Receiver], services: Services) -> Receiver:
    """A channel of that name, configured."""
    receiver = make_receiver()
    services.env["COORDINATOR_ALERT_URLS"] = f"ops={receiver.url}"
    return receiver


@pytest.fixture
def rules(services: Services, tmp_path: Path) -> Callable[[str], None]:
    """Write the file of rules."""

    def write(text: str) -> None:
        (tmp_path / "alerts.toml").write_text(text)
        services.env["COORDINATOR_ALERT_RULES"] = str(tmp_path / "alerts.toml")

    return write


def failed(coordinator: Coordinator, message: str = "boom") -> str:
    job = coordinator.launch(fail.s(message))
    with pytest.raises(JobFailed):
        coordinator.wait(job, timeout_s=30)
    return job


def deliveries(coordinator: Coordinator) -> dict[str, State]:
    jobs = coordinator.state_manager.page(internal=True, kind=KIND).jobs
    return {job.id: job.state for job in jobs}


def test_alert_reaches_its_channel_once_when_a_job_fails(coordinator, start_worker, ops):
    """One post, whose body names the alert, and a delivery that is a job of its own, hidden from lists."""
    start_worker()

    job = failed(coordinator)

    wait_until(lambda: ops.taken, what="a post")
    wait_until(lambda: set(deliveries(coordinator).values()) == {State.SUCCEEDED}, what="its record")
    assert ops.titles() == [f"job {job}: failed"]
    assert "boom" in ops.taken[0]["message"] and ops.taken[0]["type"] == "failure"
    assert coordinator.alerts()[0]["id"] in ops.taken[0]["message"]
    assert [found.id for found in coordinator.jobs()] == [job]


def test_alert_is_said_once_in_a_while_when_many_are_alike(coordinator, start_worker, ops):
    """Ten jobs of the same failure make one post; another failure makes its own."""
    start_worker()
    for _ in range(10):
        failed(coordinator, "the disk is full")
    other = failed(coordinator, "the table is gone")

    wait_until(lambda: f"job {other}: failed" in ops.titles(), what="the other failure")
    wait_until(lambda: set(deliveries(coordinator).values()) == {State.SUCCEEDED}, what="all posts")

    assert len(ops.taken) == 2
    assert len(coordinator.alerts()) == 11


def test_alert_waits_and_holds_up_no_job_when_its_channel_is_dead(coordinator, start_worker, ops):
    """Jobs run on; the alert is tried again, and comes through once the channel is back."""
    start_worker(concurrency=1)
    ops.is_down = True
    for n in range(5):
        failed(coordinator, f"fault {n}")
    wait_until(lambda: ops.refused, what="a try")

    assert coordinator.wait(coordinator.launch(add.s(1, 2)), timeout_s=10) == 3
    assert ops.refused <= 5
    ops.is_down = False

    wait_until(lambda: len(ops.taken) >= 5, timeout_s=40, what="all five")
    assert len(set(ops.titles())) == 5
    assert {alert["alert"] for alert in coordinator.alerts()} == {"failed"}


def test_alert_is_given_up_without_an_end_of_alerts_when_its_channel_stays_dead(
    coordinator, start_worker, ops, rules
):
    """The delivery fails, which is in the feed, and is not delivered in its turn."""
    rules("give_up_s = 1")
    ops.is_down = True
    worker = start_worker()
    failed(coordinator)

    wait_until(lambda: State.FAILED in deliveries(coordinator).values(), timeout_s=40, what="giving up")
    other = failed(coordinator, "another")
    wait_until(lambda: len(deliveries(coordinator)) == 2, what="the next delivery")

    wait_until(lambda: "alert-not-delivered" in worker.log.read_text(), what="a word in the log")
    assert len(deliveries(coordinator)) == 2
    assert _said(coordinator, other) == ["failed"]


def test_alert_is_not_lost_when_its_worker_is_killed_while_it_sends(coordinator, start_worker, ops):
    """Another worker sends it again; whoever got it twice knows it by its id."""
    ops.may_answer.clear()
    worker = start_worker()
    job = failed(coordinator)
    wait_until(lambda: ops.taken, what="a post")
    worker.kill()  # the channel has it, and the worker does not know that it has
    ops.may_answer.set()

    start_worker()

    wait_until(lambda: set(deliveries(coordinator).values()) == {State.SUCCEEDED}, timeout_s=40)
    assert ops.titles() == [f"job {job}: failed"] * 2
    assert ops.taken[0]["message"] == ops.taken[1]["message"]


def test_alert_is_handed_on_once_when_the_relay_dies_before_its_place_moves(coordinator):
    """The same alerts, read again, make no second delivery, and none is held back as its own likeness."""
    parts = coordinator.app.parts
    for n in range(3):
        parts.state.note_alert(f"n{n}", alert="failed", severity="error")
    relay = Relay(parts, Rules(), ("ops",))
    relay.hand_on()
    first = deliveries(coordinator)
    parts.state.client.delete(f"{parts.settings.prefix}:alerts:places")

    relay.hand_on()

    assert deliveries(coordinator) == first and len(first) == 3


def test_rules_choose_the_channels_when_an_alert_comes(
    coordinator, start_worker, make_receiver, services, rules
):
    """The first rule that fits decides; an empty list of channels keeps it quiet."""
    desk, pager = make_receiver(), make_receiver()
    services.env["COORDINATOR_ALERT_URLS"] = f"desk={desk.url} pager={pager.url}"
    rules(
        """
        [[rule]]
        alerts = ["rejected"]
        channels = []
        [[rule]]
        kinds = ["can*"]
        severity = "error"
        channels = ["pager", "desk"]
        """
    )
    start_worker()
    rejected = coordinator.submit("sum_to", {"n": -2}).id
    with pytest.raises(JobRejected):
        coordinator.wait(rejected, timeout_s=20)
    job = failed(coordinator)

    wait_until(lambda: desk.taken and pager.taken, what="both")

    assert desk.titles() == pager.titles() == [f"job {job}: failed"]


def test_channel_gets_no_more_than_its_rate_when_alerts_flood(coordinator, start_worker, ops, rules):
    """The rest waits for the next minute, as timers in Redis."""
    rules("per_minute = 2")
    start_worker()
    for n in range(5):
        coordinator.state_manager.note_alert(f"n{n}", alert="message", severity="error")

    wait_until(lambda: len(deliveries(coordinator)) == 5, what="five deliveries")
    wait_until(lambda: _retrying(coordinator) + len(ops.taken) >= 5, what="the rest to wait")
    assert len(ops.taken) <= 4  # two, and two more should a minute begin just now


def test_job_is_said_to_stall_and_to_recover_when_no_worker_serves_it(
    coordinator, start_worker, rules, services, tmp_path
):
    """One alert when nothing has moved it for long, one when it goes on; a running step is no standstill."""
    rules("stalled_s = 1")
    start_worker()
    gate = tmp_path / "gate"
    running = coordinator.launch(wait_for_file.s(str(gate)))
    stuck = coordinator.launch(add.s(1, 1).set(queue=f"{services.env['COORDINATOR_QUEUE']}-other"))
    wait_until(lambda: _said(coordinator, stuck) == ["stalled"], what="the word that it stalls")

    start_worker(queues=[f"{services.env['COORDINATOR_QUEUE']}-other"])

    wait_until(lambda: _said(coordinator, stuck) == ["recovered", "stalled"], what="that it goes on")
    assert coordinator.wait(stuck, timeout_s=20) == 2
    assert _said(coordinator, running) == []
    gate.write_text("x")


def test_job_is_not_said_to_stall_when_its_step_waits_for_its_countdown(coordinator):
    """The step has not begun, but its timer is set: it moves by itself when that is due."""
    postponed = coordinator.launch(add.s(1, 1).set(countdown=60))
    stuck = coordinator.launch(add.s(1, 1))
    stalls = Stalls(coordinator.app.parts, 0.2)

    wait_until(lambda: stalls.look() or _said(coordinator, stuck), what="the word that the other stalls")

    assert _said(coordinator, postponed) == []


@pytest.mark.brokers("rabbitmq")
def test_people_are_told_when_redis_comes_back_empty(coordinator, start_worker, ops, redis_server):
    """Also what was handed on is forgotten then; the alert is delivered all the same, once."""
    start_worker()
    failed(coordinator)
    wait_until(lambda: ops.taken, what="a first post")

    redis_server.restart(empty=True)

    wait_until(lambda: "Batuta: redis-empty" in ops.titles(), timeout_s=40, what="the word of it")
    wait_until(lambda: set(deliveries(coordinator).values()) == {State.SUCCEEDED}, what="its record")
    assert ops.titles().count("Batuta: redis-empty") == 1


def test_secrets_stay_secret_when_a_channel_is_used_and_fails(coordinator, start_worker, ops, rules):
    """No log at any level, no key in Redis and no error holds any of a channel's URL."""
    rules("give_up_s = 1")
    worker = start_worker(options=["--loglevel", "DEBUG"])
    failed(coordinator)
    wait_until(lambda: ops.taken, what="a post")
    ops.is_down = True
    failed(coordinator, "another")
    wait_until(lambda: State.FAILED in deliveries(coordinator).values(), timeout_s=40, what="giving up")

    assert SECRET not in worker.log.read_text()
    client = coordinator.state_manager.client
    client.config_set("rdbcompression", "no")  # what is dumped shows all text
    assert not [key for key in client.scan_iter() if SECRET.encode() in client.dump(key)]
    assert not [job for job in deliveries(coordinator) if SECRET in repr(coordinator.state_manager.plan(job))]
    delivery = next(job for job, state in deliveries(coordinator).items() if state == State.FAILED)
    error = coordinator.status(delivery).error
    assert "channel ops (json://)" in error["message"] and SECRET not in json.dumps(error)


def test_alert_is_kept_when_it_names_a_file_that_is_no_utf_8(coordinator):
    """What can't be written as it is, is written so that it can be read."""
    Notifier(coordinator.state_manager).send_alert("no rows in \udcff.csv")

    assert [alert["message"] for alert in coordinator.alerts()] == [r"no rows in \udcff.csv"]


def test_doctor_says_who_is_told_when_it_looks(coordinator, monkeypatch):
    """A fault in the settings is found by looking, before an alert is missed, and no secret is said."""
    cases = (("", "ok", "feed"), (f"ops=json://{SECRET}", "ok", "ops"), (SECRET, "error", "entry 1"))
    for urls, level, found in cases:
        monkeypatch.setenv("COORDINATOR_ALERT_URLS", urls)
        finding = next(finding for finding in coordinator.findings() if finding.name == "alerts")
        assert finding.level == level and found in finding.found and SECRET not in finding.found


def _said(coordinator: Coordinator, job: str) -> list[str]:
    return [alert["alert"] for alert in coordinator.alerts() if alert["job"] == job]


def _retrying(coordinator: Coordinator) -> int:
    steps = [step for job in deliveries(coordinator) for step in coordinator.steps(job)]
    return sum(step.state == StepState.RETRYING for step in steps)
