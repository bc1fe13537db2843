"""A project with its own Celery application: ``install`` is all that it adds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from celery import Celery, Task
from celery.app import trace

from coordinator import install
from coordinator.adoption import adopted
from coordinator.errors import SettingsError
from coordinator.settings import Settings
from coordinator.state.connection import connect
from coordinator.step import Step
from tests.servers.process import ROOT

PROGRAM = """
import json, sys
from examples.adopted.shop import app, order_canvas, weigh, reserve
from coordinator import Coordinator
native = order_canvas([3, 1, 2]).apply_async()
coordinator = Coordinator.from_settings()
job = coordinator.launch(order_canvas([3, 1, 2], sys.argv[1]), key="order-1")
found = {
    "native": native.get(timeout=30),
    "job": coordinator.wait(job, timeout_s=30),
    "plain": weigh.delay(4).get(timeout=20),
    "called": weigh(5),
    "step": app.AsyncResult(f"{job}:0.price_of[0]").get(timeout=5),
    "done": coordinator.status(job).steps_done,
    "app": app.main,
}
from celery import current_app
found["current"] = current_app.main
print(json.dumps(found))
"""


def test_project_of_before_runs_its_canvas_as_a_job_when_installed(services, start_worker, tmp_path):
    """Plain tasks, tasks with a base class of their own and shared tasks are steps; nothing else changes."""
    services.env["SHOP_QUEUE"] = services.env["COORDINATOR_QUEUE"]
    del services.env["COORDINATOR_JOBS"]
    start_worker(app="examples.adopted.shop")
    runs = tmp_path / "runs"

    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(runs)],
        env={**os.environ, **services.env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["job"] == found["native"] == {
        "tenant": "shop",
        "price": 8.1,
        "reserved": "3 is reserved, 1 is reserved, 2 is reserved",
        "weight": 60,
        "finished": True,
    }  # fmt: skip
    assert (found["plain"], found["called"], found["step"], found["done"]) == (40, 50, 4.5, 17)
    assert found["app"] == found["current"] == "shop", "no other application took its place"
    assert sorted(runs.read_text().split()) == ["1", "2", "3"]


def test_killed_step_is_run_again_when_its_task_acknowledges_early(services, start_worker, tmp_path):
    """Late acks hold for steps, whatever the project's own tasks do."""
    project = tmp_path / "project_with_early_acks.py"
    project.write_text(
        f"""
import os, signal
from celery import Celery, chain
from coordinator import Coordinator, install
app = Celery("early", broker={services.broker_url!r}, backend={services.redis_url!r})
app.conf.task_default_queue = {services.env["COORDINATOR_QUEUE"]!r}
@app.task
def die_once(path):
    with open(path, "a") as file: file.write("x")
    if len(open(path).read()) == 1: os.kill(os.getpid(), signal.SIGKILL)
    return len(open(path).read())
@app.task
def double(x): return 2 * x
install(app)
if __name__ == "__main__":
    import sys
    assert not die_once.acks_late
    coordinator = Coordinator.from_settings()
    print(coordinator.wait(coordinator.launch(chain(
        app.signature("project_with_early_acks.die_once", (sys.argv[1],)),
        app.signature("project_with_early_acks.double"))), timeout_s=30))
"""
    )
    env = {**services.env, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    start_worker(app="project_with_early_acks", env=env)

    ended = subprocess.run(
        [sys.executable, str(project), str(tmp_path / "runs")],
        env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert ended.stdout.strip() == "4", ended.stderr


def test_task_is_taken_in_its_own_way_when_its_class_says_how():
    """A class with a strategy of its own, as celery-batches has, goes on taking its messages."""
    taken = []

    class Batches(Task):
        def Strategy(self, task, app, consumer):  # noqa: N802  Celery's name
            return lambda message, body, *args: taken.append(task.name)

    app = make_project()

    @app.task(base=Batches, name="together")
    def together() -> None: ...

    install(app, SETTINGS)
    consumer = MagicMock(connection_errors=(), event_dispatcher=None)

    app.tasks["together"].start_strategy(app, consumer)(
        SimpleNamespace(headers={"id": "1"}, payload=([], {}, {})), None
    )

    assert taken == ["together"]
    app.close()


def make_project(**conf: object) -> Celery:
    app = Celery("project", set_as_current=False, broker="memory://", backend="cache+memory://")
    app.conf.update(conf)
    return app


SETTINGS = Settings(broker_url="redis://127.0.0.1:1/0", redis_url="redis://127.0.0.1:1/1", jobs=())


def test_tasks_are_adopted_whenever_they_are_defined():
    """Before install, after it, after the application is complete, with a base class, and as classes."""
    app = make_project()

    class Own(Task):
        colour = "red"

    @app.task
    def before() -> None: ...

    @app.task(base=Own)
    def based() -> None: ...

    install(app, SETTINGS)

    @app.task
    def after() -> None: ...

    app.finalize()

    @app.task
    def late() -> None: ...

    class Whole(Task):
        name = "whole"

        def run(self) -> None: ...

    app.register_task(Whole())

    for name in ("before", "based", "after", "late"):
        task = next(task for key, task in app.tasks.items() if key.endswith(f".{name}"))
        assert isinstance(task, Step) and not task.acks_late, name
    assert isinstance(app.tasks["whole"], Step)
    assert isinstance(app.tasks["celery.starmap"], Step)
    assert next(t for key, t in app.tasks.items() if key.endswith(".based")).colour == "red"
    assert install(app) is app and adopted(app.tasks["whole"]) is app.tasks["whole"]
    app.close()


def test_body_of_a_task_is_its_code_when_it_was_adopted_before_a_worker_began(monkeypatch):
    """Looking at a task while the project is imported completes its application: all its steps failed."""
    app = make_project()

    class Loud(Task):
        def __call__(self, *args):
            return f"{super().__call__(*args)}!"

    @app.task(name="plain")
    def plain(x):
        return x

    @app.task(name="loud", base=Loud)
    def loud(x):
        return x

    install(app, SETTINGS)
    app.finalize()
    monkeypatch.setattr(Task, "__call__", Task.__call__)  # restored afterwards, as is the next
    monkeypatch.setattr(Task, "_stackprotected", False, raising=False)
    trace._install_stack_protection()  # as a worker does at its start

    @app.task(name="late")
    def late(x):
        return x

    assert [app.tasks[name].body("x") for name in ("plain", "loud", "late")] == ["x", "x!", "x"]
    assert app.tasks["late"].body.__func__ is Step.body
    app.close()


def test_install_says_what_is_missing_when_it_cannot_work(monkeypatch):
    """No Redis anywhere, or an application that refuses JSON."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    with pytest.raises(SettingsError, match="REDIS_URL") as caught:
        install(make_project(result_backend="db+postgresql://user:secret@h/d"))
    assert "secret" not in str(caught.value)
    with pytest.raises(SettingsError, match="accept_content"):
        install(make_project(accept_content=["pickle"]), SETTINGS)


def test_commands_use_the_projects_application_when_its_module_is_named(services, start_worker, tmp_path):
    """The project's queue stays its own: RabbitMQ refuses one that is declared in the commands' way."""
    queue = services.env["COORDINATOR_QUEUE"]
    (tmp_path / "commanded.py").write_text(
        f"""
from celery import Celery
from pydantic import BaseModel
from coordinator import install, job
app = Celery("commanded", broker={services.broker_url!r}, backend={services.redis_url!r})
app.conf.task_default_queue = {queue!r}
class Addends(BaseModel):
    n: int = 1
@app.task
def add(x, y): return x + y
@job("adding", params=Addends)
def adding(p): return add.s(p.n, 2)
install(app)
"""
    )
    env = {**services.env, "COORDINATOR_JOBS": "commanded", "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    start_worker(app="commanded", env=env)

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "coordinator.cli", *words],
            env={**os.environ, **env}, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    ran = command("run", "adding", "-p", "n=3")
    assert (ran.returncode, ran.stdout.strip()) == (0, "5"), ran.stderr
    doctor = json.loads(command("doctor", "-o", "json").stdout)
    assert {found["level"] for found in doctor if found["name"] == f"queue {queue}"} == {"ok"}


def test_program_is_told_what_to_set_when_it_has_no_redis():
    """A program of one's own starts no private server, unlike the command line."""
    with pytest.raises(SettingsError, match="REDIS_URL: expected the URL"):
        connect("")
