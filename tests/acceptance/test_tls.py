"""TLS to RabbitMQ and Redis, by a private authority, set as docs/howto/tls.md says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import trustme

from tests.servers import MissingServer, RabbitMQ, Redis
from tests.servers.certificates import Certificates
from tests.servers.process import free_port

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 90
CONFIG = """
import ssl

broker_use_ssl = {{"ca_certs": {ca!r}, "cert_reqs": ssl.CERT_REQUIRED, "server_hostname": "localhost"}}
"""


@dataclass(frozen=True)
class Project:
    """A folder with a celeryconfig.py, and the environment that names servers with TLS."""

    folder: Path
    env: dict[str, str]

    def trust(self, ca: Path) -> None:
        (self.folder / "celeryconfig.py").write_text(CONFIG.format(ca=str(ca)))

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "coordinator.cli", *words],
            cwd=self.folder,
            env={**os.environ, **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str]:
        with self.start(*words) as process:
            out, err = process.communicate(timeout=TIMEOUT_S)
        return process.returncode, out + err


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Both servers with a certificate of one authority, which the project trusts."""
    files = Certificates.issued(tmp_path)
    ca, cert, key = files.ca, files.cert, files.key
    amqps, rediss = free_port(), free_port()
    try:
        broker, state = RabbitMQ(made(tmp_path / "rabbitmq")), Redis(made(tmp_path / "redis"))
    except MissingServer as error:
        pytest.fail(str(error)) if os.environ.get("CI") == "true" else pytest.skip(str(error))
    options = f'{{cacertfile,"{ca}"}},{{certfile,"{cert}"}},{{keyfile,"{key}"}},{{verify,verify_none}}'
    (broker.home / "advanced.config").write_text(
        f'[{{rabbit,[{{ssl_listeners,[{{"127.0.0.1",{amqps}}}]}},{{ssl_options,[{options}]}}]}}].'
    )
    try:
        broker.launch()
        state.start()
        with redis.Redis.from_url(state.url()) as client:
            for name, value in files.redis_settings(rediss).items():
                client.config_set(name, str(value))
        broker.wait_ready()
        found = Project(
            made(tmp_path / "project"),
            {
                "PYTHONPATH": str(ROOT),
                "COORDINATOR_JOBS": "tests.acceptance.cli_jobs",
                "BROKER_URL": f"amqps://{broker.user}:{broker.password}@localhost:{amqps}//",
                "REDIS_URL": f"rediss://:{state.password}@localhost:{rediss}/0"
                f"?ssl_cert_reqs=required&ssl_ca_certs={ca}",
            },
        )
        found.trust(ca)
        yield found
    finally:
        broker.stop()
        state.stop()


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_job_succeeds_and_a_stranger_is_refused_when_servers_speak_tls(
    project: Project, tmp_path: Path
) -> None:
    """Everything goes through TLS; a server whose certificate another authority signed is not spoken to."""
    with project.start("worker", "--concurrency", "1") as worker:
        try:
            code, told = project.run("run", "sum", "-p", "numbers=[1, 2, 3]", "--timeout", "60")
        finally:
            worker.terminate()
            log = "".join(worker.communicate(timeout=TIMEOUT_S))
    assert code == 0, told + log
    assert told.startswith("12\n")

    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    project.trust(tmp_path / "other.pem")
    code, told = project.run("doctor")
    assert code == 1
    assert "CERTIFICATE_VERIFY_FAILED" in told
