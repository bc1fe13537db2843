"""A finding for each thing that can be wrong, made by breaking the real thing."""

from __future__ import annotations

import signal
import time

import pytest

from coordinator import registry
from tests.flows import add
from tests.waiting import wait_until

ANSWERED_S = 5


def finding(coordinator, name: str):
    return next(finding for finding in coordinator.findings() if finding.name == name)


def test_doctor_finds_nothing_wrong_when_all_is_well(coordinator, start_worker, monkeypatch):
    """Every check says ok, and says it soon."""
    # Other tests of this session may have registered kinds that this worker rightly lacks.
    own = {name: kind for name, kind in registry._kinds.items() if kind.builder.__module__ == "tests.flows"}
    monkeypatch.setattr(registry, "_kinds", own)
    start_worker()
    wait_until(lambda: coordinator.state_manager.client.exists(coordinator.state_manager.keys.reconciler))
    started = time.monotonic()

    found = coordinator.findings()

    assert not [finding for finding in found if not finding.ok]
    assert "1 consumers" not in str(found)
    assert {"settings", "redis", "persistence", "eviction", "broker", "workers", "versions", "kinds"} <= {
        finding.name for finding in found
    }
    assert time.monotonic() - started < ANSWERED_S


def test_doctor_and_worker_tell_of_a_setting_when_nothing_reads_it(
    coordinator, start_worker, services, monkeypatch
):
    """A mistyped variable would be left out in silence; the worker's log names the one that was meant."""
    monkeypatch.setenv("COORDINATOR_REDIS_UR", "x")
    warned = next(found for found in coordinator.findings() if found.name == "settings" and not found.ok)
    assert (warned.level, warned.advice) == ("warn", "did you mean REDIS_URL?")

    worker = start_worker()

    wait_until(lambda: "setting-unread: COORDINATOR_REDIS_UR" in worker.log.read_text(), what="the warning")


def test_doctor_answers_soon_when_nothing_answers(elsewhere, services):
    """Broker and Redis are both said to be away; workers are not asked."""
    broker = "amqp://a:secret@127.0.0.1:1//" if services.kind == "rabbitmq" else "redis://127.0.0.1:1/0"
    coordinator = elsewhere(broker_url=broker, redis_url="redis://:secret@127.0.0.1:1/1")
    started = time.monotonic()

    found = {finding.name: finding for finding in coordinator.findings()}

    assert time.monotonic() - started < ANSWERED_S
    assert found["redis"].level == found["broker"].level == "error"
    assert found["workers"].level == "warn" and "not asked" in found["workers"].found
    assert "secret" not in str(found)


@pytest.mark.brokers("rabbitmq")
@pytest.mark.parametrize("is_broker", [False, True], ids=["state", "both"])
def test_doctor_and_why_answer_soon_when_redis_hangs(elsewhere, own_redis, is_broker):
    """It listens, and says nothing: a disk that stalls, a machine that swaps, a process that was stopped."""
    other = {"broker_url": own_redis.url(0)} if is_broker else {}
    coordinator = elsewhere(redis_url=own_redis.url(1), **other)
    job = coordinator.launch(add.s(1, 1))
    own_redis.process.signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        (reason,) = coordinator.why(job)
        assert reason.code == "redis-unreachable" and "does not answer" in reason.found
        found = {finding.name: finding for finding in coordinator.findings()}
        assert time.monotonic() - started < 2 * ANSWERED_S
    finally:
        own_redis.process.signal(signal.SIGCONT)

    assert found["redis"].level == "error" and "not asked" in found["workers"].found
    assert found["broker"].level == ("error" if is_broker else "ok")


def test_doctor_says_that_the_password_is_wrong_when_it_is(elsewhere, services):
    """What listens, but lets nobody in, is told apart from what is away."""
    broker = services.broker_url
    if services.kind == "rabbitmq":
        broker = broker.replace(broker.split(":")[2].split("@")[0], "wrong")
        assert "ACCESS_REFUSED" in finding(elsewhere(broker_url=broker), "broker").found
    state = services.redis_url.replace(services.redis_url.split(":")[2].split("@")[0], "wrong")
    assert "password" in finding(elsewhere(redis_url=state), "redis").found


def test_doctor_finds_a_redis_that_forgets_when_its_settings_are_changed(elsewhere, own_redis):
    """Without an append-only file, with eviction, and nearly full."""
    coordinator = elsewhere(redis_url=own_redis.url(1))
    client = coordinator.state_manager.client
    client.config_set("appendonly", "no")
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("maxmemory", int(client.info()["used_memory"] * 1.05))

    found = {finding.name: finding for finding in coordinator.findings()}

    assert found["persistence"].level == "warn" and "appendonly yes" in found["persistence"].advice
    assert found["eviction"].level == "error" and "noeviction" in found["eviction"].advice
    assert found["redis memory"].level in ("warn", "error") and "maxmemory" in found["redis memory"].advice


def test_doctor_and_why_find_a_redis_that_is_a_replica(elsewhere, own_redis):
    """After a failover REDIS_URL may name the one that was the primary: it answers, and takes no write."""
    coordinator = elsewhere(redis_url=own_redis.url(1))
    job = coordinator.launch(add.s(1, 1))
    coordinator.state_manager.client.replicaof("127.0.0.1", 1)

    found = finding(coordinator, "redis role")

    assert found.level == "error" and "REDIS_URL" in found.advice
    assert "redis-refuses" in [reason.code for reason in coordinator.why(job) if reason.needs_you]


def test_doctor_and_why_find_a_redis_that_refuses_writes_since_its_snapshot_failed(elsewhere, own_redis):
    """A full disk, or no memory to fork: Redis answers reads, and leases run out under workers that live."""
    coordinator = elsewhere(redis_url=own_redis.url(1))
    job = coordinator.launch(add.s(1, 1))
    client = coordinator.state_manager.client
    (own_redis.data / "dump.rdb").mkdir()  # no snapshot can take its place
    client.bgsave()
    wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] != "ok", what="a failure")

    found = finding(coordinator, "persistence")

    assert found.level == "error" and "snapshot" in found.found
    assert "snapshot" in next(r.found for r in coordinator.why(job) if r.code == "redis-refuses")


def test_doctor_finds_settings_that_do_not_fit_each_other(elsewhere):
    """A lease that is no longer than the ticks that renew it."""
    found = finding(elsewhere(lease_s=1.0, tick_s=1.0), "settings")
    assert found.level == "error" and "COORDINATOR_LEASE_S" in found.found and "3" in found.advice


def test_doctor_finds_that_no_worker_lives(coordinator):
    """No worker answers, and none reconciles."""
    assert finding(coordinator, "workers").level == "warn"
    assert finding(coordinator, "reconciler").level == "warn"


@pytest.mark.brokers("rabbitmq")
def test_doctor_finds_a_queue_that_nobody_reads(coordinator):
    """Messages without a consumer, which only RabbitMQ can tell."""
    coordinator.launch(add.s(1, 1))

    found = finding(coordinator, f"queue {coordinator.settings.queue}")

    assert found.level == "error" and "no consumer" in found.found
    assert f"-Q {coordinator.settings.queue}" in found.advice


@pytest.mark.brokers("rabbitmq")
def test_doctor_finds_a_queue_of_another_type(coordinator, elsewhere):
    """A classic queue under settings that say quorum."""
    coordinator.launch(add.s(1, 1))
    other = elsewhere(queue_type="quorum")

    found = finding(other, f"queue {coordinator.settings.queue}")

    assert found.level == "error" and "inequivalent arg" in found.found


@pytest.mark.brokers("rabbitmq")
def test_doctor_says_so_when_the_broker_lets_its_user_do_little(coordinator, elsewhere, rabbitmq):
    """The queue is not said to be of another type, to be deleted; nor does the whole look end there."""
    coordinator.launch(add.s(1, 1))
    rabbitmq.ctl("add_user", "looker", "secret")
    try:
        rabbitmq.ctl("set_permissions", "-p", "/", "looker", "^$", "^$", ".*")
        url = f"amqp://looker:secret@{rabbitmq.address}:{rabbitmq.port}//"
        other = elsewhere(broker_url=url)
        found = {finding.name: finding for finding in other.findings()}
    finally:
        rabbitmq.ctl("delete_user", "looker")

    queue = found[f"queue {coordinator.settings.queue}"]
    assert "ACCESS_REFUSED" in queue.found and "right to configure" in queue.advice
    assert found["workers"].level == "error" and "lets nobody be asked" in found["workers"].found


def test_doctor_finds_a_worker_with_a_late_clock_and_without_our_kinds(coordinator, start_worker):
    """A host without NTP, started with other jobs."""
    worker = start_worker(env={"COORDINATOR_JOBS": "tests.integration.late_clock"})

    found = {finding.name: finding for finding in coordinator.findings()}

    assert found["clocks"].level == "warn" and worker.nodename in found["clocks"].found
    assert found["kinds"].level == "error" and "sum_to" in found["kinds"].found
    assert "COORDINATOR_JOBS" in found["kinds"].advice


def test_doctor_finds_workers_that_disagree_on_the_lease(coordinator, start_worker):
    """Two hosts with different settings."""
    start_worker()
    start_worker(env={"COORDINATOR_LEASE_S": "7"})

    found = finding(coordinator, "settings of workers")

    assert found.level == "warn" and "COORDINATOR_LEASE_S" in found.found


def test_doctor_finds_a_worker_that_knows_no_channel_when_another_does(coordinator, start_worker):
    """Whichever of them reconciles hands the alerts on: with that one nobody would be told."""
    start_worker(env={"COORDINATOR_ALERT_URLS": "ops=json://127.0.0.1:1"})
    silent = start_worker()

    found = finding(coordinator, "alerts of workers")

    assert found.level == "warn" and found.found.startswith(f"{silent.nodename}: no COORDINATOR_ALERT_URLS")


def test_doctor_finds_that_no_worker_knows_the_channels_that_are_named_here(
    coordinator, start_worker, monkeypatch
):
    """They are read where alerts are sent from."""
    start_worker()
    assert "alerts of workers" not in {finding.name for finding in coordinator.findings()}

    monkeypatch.setenv("COORDINATOR_ALERT_URLS", "ops=json://127.0.0.1:1")

    assert finding(coordinator, "alerts of workers").level == "warn"


def test_doctor_finds_what_was_left_in_the_outbox(coordinator):
    """An entry that nobody has sent for long."""
    state = coordinator.state_manager
    job = coordinator.launch(add.s(1, 1))
    state.client.zadd(state.keys.named(job, "outbox")[0], {f"{job}|^": state.now_ms() - 60_000})

    found = finding(coordinator, "outbox")

    assert found.level == "warn" and found.found.startswith("1 ")


def test_doctor_tells_when_traces_are_asked_for_and_none_are_made(coordinator, monkeypatch):
    """Whoever set an endpoint and forgot the extra is told; whoever set none hears nothing of traces."""
    assert "traces" not in {finding.name for finding in coordinator.findings()}

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")

    found = finding(coordinator, "traces")
    assert found.level == "warn" and "extra otel" in found.advice
