"""Jobs on real worker processes, driven through pytest-celery's nodes."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import chain, chord
from pytest_celery import CeleryTestSetup

from coordinator import Coordinator
from tests.flows import add, mark, total, wait_for_file
from tests.waiting import wait_until


def test_setup_answers_when_started(celery_setup: CeleryTestSetup) -> None:
    """Broker, backend and worker are up, and a plain task and a control message come back."""
    assert celery_setup.ready(ping=True, control=True, docker=True)
    found = celery_setup.worker.get_running_processes_info(["pid", "cmdline"])
    own = [process for process in found if "worker" in process["cmdline"]]
    assert len(own) == 3  # its main process and two children


def test_job_succeeds_when_workers_are_real(coordinator: Coordinator) -> None:
    """A chord between two steps gives its value."""
    job = coordinator.launch(chain(add.s(1, 2), chord([add.s(10), add.s(20)], total.s())))
    assert coordinator.wait(job, timeout_s=30) == 13 + 23


@pytest.mark.parametrize("part", ["worker", "broker", "backend"])
def test_job_succeeds_when_a_part_is_killed_and_restarted(
    celery_setup: CeleryTestSetup, coordinator: Coordinator, tmp_path: Path, part: str
) -> None:
    """A job whose step runs while the worker, broker or Redis is killed still ends, with the right value."""
    began, go = tmp_path / "began", tmp_path / "go"
    job = coordinator.launch(
        chain(mark.si("began", str(began)), wait_for_file.si(str(go)), mark.s(str(began)))
    )
    wait_until(began.exists, what="the first step to run")

    node = getattr(celery_setup, part)
    node.kill()
    node.restart()
    go.write_text("done")

    assert coordinator.wait(job, timeout_s=60) == "done"
