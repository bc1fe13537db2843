"""What is started, with which flags, and what is refused."""

from __future__ import annotations

import os
import sys

import pytest

from coordinator.cli import parts


class Replaced(Exception):
    """Stands for the end of this process's program."""


@pytest.fixture
def started(monkeypatch):
    """The command lines that would take this process's place."""
    seen = []

    def execve(program, argv, env):
        seen.append((argv, env))
        raise Replaced

    monkeypatch.setenv("BROKER_URL", "amqp://localhost")
    monkeypatch.setenv("REDIS_URL", "redis://localhost")
    monkeypatch.delenv("FLOWER_BASIC_AUTH", raising=False)
    monkeypatch.setattr(os, "execve", execve)
    return seen


def test_worker_is_celery_itself_when_servers_are_configured(call, started):
    """Signals and exit codes are Celery's own."""
    call(
        "worker",
        "--concurrency",
        "3",
        "--queues",
        "a,b",
        "--loglevel",
        "warning",
        "--",
        "--max-tasks-per-child=9",
    )
    argv, env = started[0]
    assert argv[:6] == [sys.executable, "-m", "celery", "-A", "coordinator.app", "worker"]
    words = " ".join(argv)
    assert "--concurrency 3" in words and "--queues a,b" in words and "--loglevel warning" in words
    assert argv[-1] == "--max-tasks-per-child=9"
    assert env["PYTHONPATH"].split(os.pathsep)[0]


def test_worker_has_a_new_name_each_time(call, started):
    """A restart doesn't wait for the dead node's locked queue."""
    call("worker")
    call("worker")
    first, second = (argv[argv.index("--hostname") + 1] for argv, _ in started)
    assert first != second
    assert first.endswith("@%h")


@pytest.mark.parametrize(("name", "node"), [("blue", "blue@%h"), ("blue@green", "blue@green")])
def test_worker_keeps_the_name_that_it_is_given(call, started, name, node):
    """A full node name stays as it is."""
    call("worker", "--name", name)
    assert node in started[0][0]


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5", "example.org"])  # noqa: S104
def test_flower_is_refused_when_open_to_others_without_a_password(call, started, address):
    """Whoever reaches Flower can stop jobs."""
    result = call("flower", "--address", address)
    assert result.exit_code == 2
    assert "FLOWER_BASIC_AUTH" in result.stderr
    assert started == []


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost", "127.0.0.2"])
def test_flower_starts_without_a_password_when_only_this_machine_reaches_it(call, started, address):
    """Nothing to set up on one's own machine."""
    call("flower", "--address", address)
    assert f"--address={address}" in started[0][0]


@pytest.mark.parametrize("word", ["--address=0.0.0.0", "--address", "-address=::"])
def test_flower_is_refused_when_its_address_is_given_past_the_check(call, started, word):
    """Of two addresses Flower takes the last: what is passed on may hold none."""
    result = call("flower", "--", word)

    assert result.exit_code == 2 and "before --" in result.stderr
    assert not started


@pytest.mark.parametrize(
    "word", ["--auth-provider=flower.views.auth.OktaLoginHandler", "--auth=", "--basic-auth="]
)
def test_flower_is_refused_when_what_is_passed_on_names_nobody(call, started, word):
    """A way to log in asks nobody for anything while it is not said who may: then Flower is open."""
    result = call("flower", "--address", "0.0.0.0", "--", word)  # noqa: S104

    assert result.exit_code == 2 and "FLOWER_BASIC_AUTH" in result.stderr
    assert not started


@pytest.mark.parametrize("word", ["--auth=.*@example.org", "--basic_auth=me:secret"])
def test_flower_starts_for_others_when_what_is_passed_on_names_who_may(call, started, word):
    """As Flower itself takes it."""
    call("flower", "--address", "0.0.0.0", "--", word)  # noqa: S104
    assert started[0][0][-1] == word


def test_flower_password_is_not_on_the_command_line(call, started, monkeypatch):
    """Other users of the machine can read command lines, but not the environment."""
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "me:secret")
    call("flower", "--address", "0.0.0.0")  # noqa: S104
    argv, env = started[0]
    assert "secret" not in " ".join(argv)
    assert env["FLOWER_BASIC_AUTH"] == "me:secret"


def test_environment_finds_this_package_first(monkeypatch):
    """Children import the same package, from whatever folder they are started."""
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    root, rest = parts.environment()["PYTHONPATH"].split(os.pathsep)
    assert os.path.isdir(os.path.join(root, "coordinator"))  # noqa: PTH112, PTH118
    assert rest == "elsewhere"
