from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
from redis.crc import key_slot

from coordinator.errors import BatutaError, JobFailed, SettingsError
from coordinator.settings import Settings, nodes_of, redacted
from coordinator.state.connection import PRELUDES
from coordinator.state.keys import Keys, beside, parse_step_id, step_id
from coordinator.states import TERMINAL, TRANSITIONS, State, new_job_id
from coordinator.validation import job_id_for

LUA = Path(__file__).parents[2] / "coordinator" / "state" / "lua"


def test_scripts_end_jobs_only_in_terminal_states_that_may_be_reached():
    """The states that the scripts write are those of the state diagram."""
    written = {
        name
        for script in LUA.glob("*.lua")
        for name in re.findall(r"end_job\(KEYS\[1\], KEYS\[\d+\], \S+, '(\w+)'", script.read_text())
    }

    assert written == {str(state) for state in TERMINAL}
    assert all(TRANSITIONS[state] == frozenset() for state in (State.REJECTED, State.SUCCEEDED))
    assert {target for targets in TRANSITIONS.values() for target in targets} == set(State)


@pytest.mark.parametrize("script", sorted(LUA.glob("*.lua")), ids=lambda path: path.stem)
def test_script_says_what_it_takes_and_gives(script):
    """Each script is headed by its purpose, keys, arguments and answers."""
    head = script.read_text().split("\nlocal", 1)[0]

    assert head.startswith("-- ")
    if script.name not in PRELUDES:
        assert "-- KEYS: 1 " in head and "-- Returns: " in head
        declared = [int(n) for n in re.findall(r"KEYS\[(\d+)\]", script.read_text())]
        named = [int(n) for n in re.findall(r"(?:KEYS: |, |^--\s+)(\d+) \w+ \(", head, re.MULTILINE)]
        assert set(declared) <= set(named), "every key that is used is named in the head"


def test_step_id_is_read_back_when_it_is_one():
    """The id of a step says its job and its key; other ids are nobody's step."""
    assert step_id("sum-k3f9", "3/17", "clean[17]") == "sum-k3f9:3/17.clean[17]"
    assert parse_step_id("sum-k3f9:3/17.clean[17]") == ("sum-k3f9", "3/17")
    assert parse_step_id("2026-11-24/orders:0.a.b") == ("2026-11-24/orders", "0")
    for other in ("3a4f0f9e-3a0f-4a5c-a6e3-0d5f3d3a1a11", "plain", "job:x.y", ":1.a", "a:b:1.c"):
        assert parse_step_id(other) is None


@pytest.mark.parametrize(
    ("key", "job"),
    [
        ("2026-11-24/orders", "2026-11-24/orders"),
        (42, "42"),
        ("a b", "a-b-"),
        ("🤖" * 9, "k-"),
        ("x" * 500, "x"),
    ],
)
def test_key_becomes_an_id_that_is_plain_and_always_the_same(key, job):
    """Any text may be a key; what is not plain is made so, with a hash behind."""
    made = job_id_for("k", key)

    assert made.startswith(job) and made == job_id_for("k", key)
    assert re.fullmatch(r"[A-Za-z0-9._/@+=-]{1,128}", made)


def test_new_job_ids_differ():
    """No key: a new id each time."""
    assert new_job_id("k") != new_job_id("k") and job_id_for("k").startswith("k-")


def test_errors_survive_pickling_with_their_facts():
    """Celery sends errors between processes."""
    error = pickle.loads(pickle.dumps(JobFailed("job x failed", job="x")))  # noqa: S301

    assert (type(error), str(error), error.facts) == (JobFailed, "job x failed", {"job": "x"})
    assert str(BatutaError()) == "Something went wrong in Batuta."


def test_settings_tell_all_faults_together_and_hide_passwords():
    """One look at the message is enough to mend the environment."""
    env = {"BROKER_URL": "http://u:secret@h", "COORDINATOR_LEASE_S": "0", "COORDINATOR_QUEUE_TYPE": "fast"}

    with pytest.raises(SettingsError) as caught:
        Settings.from_env(env)

    message = str(caught.value)
    assert all(name in message for name in ("BROKER_URL", "COORDINATOR_LEASE_S", "COORDINATOR_QUEUE_TYPE"))
    assert "secret" not in message
    with pytest.raises(SettingsError, match="set both or neither"):
        Settings.from_env({"BROKER_URL": "amqp://h"})
    assert redacted("amqp://u:pa@ss@h/v") == "amqp://u:***@h/v"


@pytest.mark.parametrize(
    "url",
    [
        "redis//:secret@h",  # no URL
        "redis:/:secret@h",
        "REDIS=redis://:secret@h",
        "redis://:sec/ret@h:1",  # Python's own words quote what stands for a port
        "redis://:ret#sec@h:1",
        "redis://:sec\uff1aret@h",
        "redis+cluster://:sec/ret@h:1,i:1",
        "http://h/0?password=secret",
    ],
)
def test_settings_keep_a_password_secret_when_its_url_cannot_be_used(url):
    """A URL that is mistyped, or whose password should have been quoted, is told without it."""
    with pytest.raises(SettingsError, match="REDIS_URL: expected") as caught:
        Settings.from_env({"BROKER_URL": "amqp://x", "REDIS_URL": url})

    assert "sec" not in str(caught.value) and "ret" not in str(caught.value)


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_settings_refuse_a_number_when_it_is_not_finite(number):
    """A lease of no length, or of any, is no lease."""
    with pytest.raises(SettingsError, match="COORDINATOR_LEASE_S: expected a number of at least 1"):
        Settings.from_env({"COORDINATOR_LEASE_S": number})


@pytest.mark.parametrize(
    "url",
    ["amqp://u:p%23@one:1/v;amqp://two", "amqps://[::1]:5671//", "redis://:p%40@[::1]:6379/0", "amqp://"],
)
def test_settings_take_a_broker_when_its_url_is_odd(url):
    """Several brokers, IPv6, quoted passwords, no host."""
    assert Settings.from_env({"BROKER_URL": url, "REDIS_URL": "redis://:a;b@h"}).broker_url == url


def test_cluster_url_names_each_node_when_read():
    """What every node has in common stands once: scheme, password, options."""
    url = "rediss+cluster://:p,w@one:7001,two:7002/0?ssl_cert_reqs=required"

    assert Settings.from_env({"BROKER_URL": "amqp://x", "REDIS_URL": url}).redis_url == url
    assert nodes_of(url) == [
        f"rediss://:p,w@{at}/0?ssl_cert_reqs=required" for at in ("one:7001", "two:7002")
    ]
    assert nodes_of("redis://one:1/2") == ["redis://one:1/2"]
    assert redacted(url) == "rediss+cluster://:***@one:7001,two:7002/0?ssl_cert_reqs=required"


@pytest.mark.parametrize("url", ["redis+cluster://one:7001/3", "redis+cluster://one:7001,two:seven"])
def test_cluster_url_is_refused_when_a_cluster_has_no_such_place(url):
    """There is no database but 0, and each node has a port."""
    with pytest.raises(SettingsError, match="REDIS_URL"):
        Settings.from_env({"BROKER_URL": "amqp://x", "REDIS_URL": url})


def test_prefix_is_refused_when_it_has_braces():
    """Whoever knows hash tags may write one: events and counts would then lie where nobody reads them."""
    with pytest.raises(SettingsError, match="COORDINATOR_PREFIX: expected text without"):
        Settings.from_env({"COORDINATOR_PREFIX": "{batuta}"})


def test_keys_of_a_job_share_a_slot_when_its_id_is_any():
    """A job's keys, its shard's indexes and counts, and its channel: one script may touch all."""
    for job in ("process_data-k3f9", "2026-11-24/orders", "", "{1}", "a}b{c", "ä"):
        keys = Keys("p").named(
            job, "m p f e r x g a b s v jobs active leases timers outbox alerts counts stalled"
        )

        assert len({key_slot(key.encode()) for key in [*keys, Keys("p").channel(job), *beside(keys)]}) == 1
