"""A private RabbitMQ node: own ports (AMQP, distribution, epmd), name, cookie and folders."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from pathlib import Path

from tests.servers.process import MissingServer, Process, ServerFailed, free_port
from tests.servers.server import Server

ADVICE = (
    "rabbitmq-server (3.10 or later) was not found: "
    "apt-get install rabbitmq-server, or brew install rabbitmq; ./run test does it for you where it may"
)
# Not Debian's wrapper on PATH, which changes user and uses the machine's folders, but the script behind it.
SCRIPT_FOLDERS = (
    "/usr/lib/rabbitmq/bin",
    "/opt/homebrew/sbin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
    "/opt/rabbitmq/sbin",
)
EXTRA_PATH = ("/usr/sbin", "/usr/local/sbin")  # not on the PATH of an ordinary user
# Schedulers that spin while idle take the cores from the workers under test.
ERL_ARGS = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"


class RabbitMQ(Server):
    """One node."""

    start_timeout_s = 60

    def __init__(self, home: Path, *, address: str = "127.0.0.1") -> None:
        self.home = home
        self.address = address  # where it listens
        self.port, dist_port, epmd_port = free_port(), free_port(), free_port()
        self.user, self.password = "batuta", secrets.token_hex(16)
        self.data = home / "mnesia"
        self.env = self._environment(dist_port, epmd_port)
        script, epmd = _find("rabbitmq-server"), _find("epmd")
        self.scripts = Path(script).parent
        # Its own epmd in the foreground: one that a node starts outlives the node.
        self.epmd = Process(
            [epmd, "-port", str(epmd_port), "-address", "127.0.0.1"], log=home / "epmd.log", env=self.env
        )
        self.process = Process([script], log=home / "rabbitmq.log", env=self.env)

    def url(self, vhost: str = "/") -> str:
        return f"amqp://{self.user}:{self.password}@{self.address}:{self.port}/{vhost}"

    def launch(self) -> None:
        for folder in ("home", "log", "mnesia"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        (self.home / "enabled_plugins").write_text("[].\n")
        (self.home / "rabbitmq-env.conf").write_text("")
        settings = {
            "listeners.tcp.default": f"{self.address}:{self.port}",
            "default_user": self.user,
            "default_pass": self.password,
            "log.console": "false",
            "log.file.level": "info",
        }
        (self.home / "rabbitmq.conf").write_text("".join(f"{k} = {v}\n" for k, v in settings.items()))
        if not self.epmd.is_alive():
            self.epmd.launch()
        self.process.launch()

    def stop(self) -> None:
        super().stop()
        self.epmd.stop()

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl against this node and return what it printed (about 1 s a call)."""
        command = [str(self.scripts / "rabbitmqctl"), "-q", "-n", self.env["RABBITMQ_NODENAME"], *arguments]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise ServerFailed(f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def _environment(self, dist_port: int, epmd_port: int) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))
        }
        return kept | {
            "HOME": str(self.home / "home"),  # where the Erlang cookie is kept
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(dist_port),
            "RABBITMQ_NODENAME": f"batuta-{secrets.token_hex(4)}@localhost",
            "RABBITMQ_MNESIA_BASE": str(self.data),
            "RABBITMQ_LOG_BASE": str(self.home / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.home / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.home / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(self.home / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERL_ARGS,
        }

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), timeout=2) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01"  # the first frame of Connection.Start
        except OSError:
            return False


def _find(program: str) -> str:
    path = os.pathsep.join([*SCRIPT_FOLDERS, os.environ.get("PATH", ""), *EXTRA_PATH])
    found = shutil.which(program, path=path)
    if found is None:
        raise MissingServer(ADVICE)
    return found
