"""deploy/worker-host.compose.yml: a worker on another host, TLS to both servers, a private authority."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.deploy.client import Api
from tests.deploy.stack import MAIN, TLS, WORKER_HOST, CommandFailed, Stack, docker

NETWORK = "networks: {{default: {{external: true, name: {name}}}}}\n"


def test_job_succeeds_when_its_only_worker_is_on_another_host_behind_tls(
    make_stack: Callable[..., Stack], api: Api, tmp_path: Path
) -> None:
    """The second file's worker trusts a private authority, and does the job through TLS alone."""
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    authority = trustme.CA()
    issued = authority.issue_cert("rabbitmq", "redis")
    authority.cert_pem.write_to_path(certificates / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(certificates / "server.pem")
    issued.private_key_pem.write_to_path(certificates / "server.key")
    (certificates / "server.key").chmod(0o644)  # the servers' users are none of this machine's
    more = {
        "BATUTA_CERTIFICATES": str(certificates),
        "TLS_ADDRESS": "127.0.0.1",
        "RABBITMQ_TLS_PORT": "0",
        "REDIS_TLS_PORT": "0",
    }
    servers = make_stack(MAIN, TLS, **more)
    servers.up(worker=0)

    # The other host is a project of its own, in the servers' network so that their names are known.
    network = tmp_path / "network.yml"
    network.write_text(NETWORK.format(name=f"{servers.project}_default"))
    hosts = {"RABBITMQ_HOST": "rabbitmq", "REDIS_HOST": "redis", **more}
    del hosts["RABBITMQ_TLS_PORT"], hosts["REDIS_TLS_PORT"]
    host = make_stack(WORKER_HOST, network, **hosts)
    host.up(worker=1)
    job = api.process("elsewhere")
    api.wait(job)

    (rabbitmq,) = servers.containers("rabbitmq")
    listed = docker("exec", rabbitmq, "rabbitmqctl", "--quiet", "list_connections", "port", "ssl")
    assert "5671\ttrue" in listed
    authority = trustme.CA()
    authority.cert_pem.write_to_path(certificates / "ca.pem")
    (worker,) = host.containers("worker")
    with pytest.raises(CommandFailed, match="CERTIFICATE_VERIFY_FAILED"):
        docker("exec", worker, "python", "manage.py", "doctor")
