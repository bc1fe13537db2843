"""What deploy/ and docker-compose.yml hold, read without an engine or a running systemd."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILES = ("docker-compose.yml", "deploy/tls.compose.yml", "deploy/worker-host.compose.yml")
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
PROGRAM = "/opt/batuta/bin/batuta"
SECRET = re.compile(r"PASSWORD|TOKENS")
#: systemd-analyze's exposure, in tenths: below 2.5 is what it calls OK.
EXPOSURE = 25


def services(name: str) -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load((ROOT / name).read_text())["services"])


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_compose_file_holds_no_secret_and_no_default_for_one(name: str) -> None:
    """Each password comes from the environment, and an empty one is refused."""
    text = re.sub(r"^ *#.*$", "", (ROOT / name).read_text(), flags=re.M)
    taken = re.findall(r"\$\{(\w+)([^}]*)\}", text)
    secrets = [(variable, rest) for variable, rest in taken if SECRET.search(variable)]
    assert secrets
    assert all(rest.startswith(":?set ") for _, rest in secrets), secrets
    # A value that is no variable stands nowhere where a secret does.
    for service in services(name).values():
        for variable, value in service.get("environment", {}).items():
            assert not SECRET.search(variable) or value.startswith("${"), variable


@pytest.mark.parametrize("name", ["docker-compose.yml", "deploy/worker-host.compose.yml"])
def test_compose_service_has_limits_a_health_check_and_a_grace_period(name: str) -> None:
    """No service may take the whole host, none is taken for well because it runs."""
    for part, service in services(name).items():
        lacking = {"mem_limit", "healthcheck", "stop_grace_period", "logging", "restart"} - service.keys()
        assert not lacking, part
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), part


def test_worker_host_runs_workers_as_the_main_file_does() -> None:
    """A change of one worker is not forgotten in the other."""
    here, there = (
        services("docker-compose.yml")["worker"],
        services("deploy/worker-host.compose.yml")["worker"],
    )
    same = here.keys() - {"build", "depends_on", "environment", "volumes"}
    assert {key: here[key] for key in same} == {key: there[key] for key in same}


@pytest.mark.parametrize("name", ["docker-compose.yml", "deploy/worker-host.compose.yml"])
def test_worker_gets_the_channels_of_alerts_that_are_set_around_it(name: str) -> None:
    """A variable of the shell reaches no container by itself, and nobody would be told."""
    assert services(name)["worker"]["environment"]["COORDINATOR_ALERT_URLS"] == "${COORDINATOR_ALERT_URLS:-}"


def test_units_are_there_when_they_are_looked_at() -> None:
    """The test below has something to look at."""
    assert UNITS


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_unit_is_valid_and_hardened(unit: Path, tmp_path: Path) -> None:
    """systemd itself finds nothing wrong, and little that the service could do to its host."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze, of the package systemd")
    # The program must exist for systemd to be content.
    program = tmp_path / "batuta"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    installed = tmp_path / unit.name
    installed.write_text(unit.read_text().replace(PROGRAM, str(program)))
    analyze("verify", "--man=no", str(installed))
    analyze("security", "--offline=true", f"--threshold={EXPOSURE}", str(installed))


def analyze(*words: str) -> None:
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and (words[0] == "security" or not done.stderr), done.stdout + done.stderr
