"""A private Redis (or Valkey) with append-only persistence."""

from __future__ import annotations

import secrets
import shutil
import socket
from pathlib import Path

from tests.servers.process import MissingServer, Process, free_port
from tests.servers.server import Server

ADVICE = (
    "redis-server (7 or later) or valkey-server was not found: "
    "apt-get install redis-server, or brew install redis; ./run test does it for you where it may"
)


class Redis(Server):
    """One node."""

    start_timeout_s = 15

    def __init__(self, home: Path, *, appendfsync: str = "everysec", address: str = "127.0.0.1") -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            raise MissingServer(ADVICE)
        self.home = home
        self.address = address  # where it listens
        self.data = home / "data"
        self.port = free_port()
        self.password = secrets.token_hex(16)
        self.appendfsync = appendfsync
        self.process = Process([program, str(home / "redis.conf")], log=home / "redis.log")

    def url(self, db: int = 0) -> str:
        return f"redis://:{self.password}@{self.address}:{self.port}/{db}"

    def launch(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        (self.home / "redis.conf").write_text(
            "".join(f"{name} {value}\n" for name, value in self.settings().items())
        )
        self.process.launch()

    def settings(self) -> dict[str, object]:
        return {
            "bind": self.address,
            "port": self.port,
            "requirepass": self.password,
            "dir": self.data,
            "appendonly": "yes",
            "appendfsync": self.appendfsync,
            "save": '""',
            "maxmemory-policy": "noeviction",
            "databases": 64,
        }

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), timeout=2) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                reply = b""
                while reply.count(b"\r\n") < 2:
                    part = connection.recv(256)
                    if not part:
                        return False
                    reply += part
        except OSError:
            return False
        return reply == b"+OK\r\n+PONG\r\n"  # not -LOADING
