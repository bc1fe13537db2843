"""What ``install`` makes of a project's settings, and what the commands make of its application."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Task
from pydantic import BaseModel

from coordinator import Coordinator, Settings, adoption, install, registry
from coordinator import parts as parts_module
from coordinator.alerting.relay import Relay
from coordinator.alerting.rules import Rules
from coordinator.errors import SettingsError
from tests.facade import close
from tests.integration.test_install import SETTINGS, make_project
from tests.servers.process import ROOT


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: Any) -> Iterator[None]:
    monkeypatch.setattr(parts_module, "installed", None)
    monkeypatch.delenv("REDIS_URL", raising=False)
    yield


def run(tmp_path: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("BROKER_URL", "REDIS_URL")}
    return subprocess.run(
        [sys.executable, *command],
        env={**kept, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", **env},
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_install_takes_the_urls_that_celery_takes():
    """``pyamqp://`` is what Celery's own first steps write."""
    app = install(make_project(broker_url="pyamqp://u:p@h//", result_backend="redis://h:1/0"))

    assert (app.parts.settings.broker_url, app.parts.settings.redis_url) == (
        "amqp://u:p@h//",
        "redis://h:1/0",
    )
    app.close()


def test_install_asks_for_no_redis_when_tasks_are_eager():
    """A project's tests run its tasks and canvas as before; a job says what it lacks."""
    app = make_project(task_always_eager=True)

    @app.task(name="double")
    def double(x):
        return 2 * x

    install(app)

    assert (double.s(2) | double.s()).apply_async().get() == 8
    with pytest.raises(SettingsError, match="REDIS_URL: expected the URL"):
        Coordinator.from_settings(celery_app=app).launch(double.s(1))
    app.close()


def test_class_that_sends_in_its_own_way_is_told_of_once_when_it_is_adopted(caplog, monkeypatch):
    """Steps are not sent through ``apply_async``: whoever relies on it learns so at the start."""

    class Tenants(Task):
        def apply_async(self, *args, **options):
            return super().apply_async(*args, **options)

    app = make_project()

    @app.task(base=Tenants, name="first")
    def first() -> None: ...

    @app.task(base=Tenants, name="second")
    def second() -> None: ...

    monkeypatch.setattr(adoption, "_told_of", set())
    with caplog.at_level(logging.WARNING, "coordinator.adoption"):
        install(app, SETTINGS)
        app.finalize()

    (told,) = [record.getMessage() for record in caplog.records]
    assert "Tenants sends tasks in its own way" in told and "before_task_publish" in told
    app.close()


def test_flower_shows_the_jobs_of_a_projects_application(tmp_path):
    """``celery -A project flower`` has the tab, as ``manage.py flower`` has it."""
    (tmp_path / "shown.py").write_text(
        """
import flower.urls
from celery import Celery
from coordinator import install
install(Celery("shown", broker="amqp://h//", backend="redis://h:1/0"))
from coordinator.dashboard import ROUTES
print([route[0] for route in flower.urls.handlers if route in ROUTES][0])
"""
    )

    ended = run(tmp_path, "shown.py")

    assert ended.stdout.strip() == "/jobs", ended.stderr


def test_commands_know_where_the_tasks_of_a_project_go_when_it_finds_them_late(tmp_path):
    """A step that ``resume`` sends goes to its task's own queue, though the commands were told of no task."""
    (tmp_path / "late_tasks.py").write_text(
        "from celery import shared_task\n@shared_task(queue='gpu')\ndef trained(): ...\n"
    )
    (tmp_path / "late_project.py").write_text(
        """
from celery import Celery
from coordinator import install
app = Celery("late", broker="amqp://h//", backend="redis://h:1/0", include=["late_tasks"])
install(app)
"""
    )
    program = """
from coordinator import Coordinator
from coordinator.plan import PlannedStep
print(Coordinator.from_settings().queue_of(PlannedStep("0", "late_tasks.trained")))
"""
    env = {"BROKER_URL": "amqp://h//", "REDIS_URL": "redis://h:1/0", "COORDINATOR_JOBS": "late_project"}

    ended = run(tmp_path, "-c", program, **env)

    assert ended.stdout.strip() == "gpu", ended.stderr


def test_commands_refuse_a_private_server_when_the_project_has_its_own(tmp_path):
    """They looked for its jobs in an empty one, or sent its broker steps that its Redis did not know."""
    (tmp_path / "owned.py").write_text(
        "from celery import Celery\nfrom coordinator import install\n"
        "install(Celery('owned', broker='amqp://u:secret@h//', backend='redis://h:1/0'))\n"
    )

    ended = run(tmp_path, "-m", "coordinator.cli", "list", COORDINATOR_JOBS="owned")

    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "set BROKER_URL to it, and REDIS_URL" in ended.stderr and "secret" not in ended.stderr


class Nothing(BaseModel):
    """A kind without parameters."""


@pytest.mark.brokers("redis")
def test_priority_means_what_it_means_to_celery_when_the_project_is_on_redis(services, monkeypatch):
    """There 0 is first, also beside its plain tasks; alerts and ``submit --priority 9`` always are."""
    queue = services.env["COORDINATOR_QUEUE"]
    app = Celery("urgent", broker=services.broker_url, backend=services.redis_url, set_as_current=False)
    app.conf.task_default_queue = queue
    install(app, Settings.from_env(services.env))
    monkeypatch.setattr(registry, "_kinds", {})
    registry.job("urgently", params=Nothing)(lambda p: app.signature("a"))
    coordinator = Coordinator.from_settings(celery_app=app)

    def sent() -> int:
        with app.connection_for_write() as connection:
            message = app.amqp.queues[queue](connection.default_channel).get(no_ack=True)
            return int(message.properties["priority"])

    coordinator.launch(app.signature("a").set(priority=2))
    assert sent() == 2
    coordinator.submit("urgently", {}, priority=9)
    assert sent() == 0
    app.parts.state.note_alert("look", severity="error")
    Relay(app.parts, Rules(), ("ops",)).hand_on()
    assert sent() == 0

    app.parts.dispatcher.close()
    app.parts.state.client.close()
    close(app)
