"""What a project's own classes, routers and states do goes on, for its steps as for its other tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_services
from tests.servers import Worker
from tests.servers.process import ROOT

NAME = "tests.integration.adopted_project"
PROGRAM = """
import json, sys
from celery import chain
from coordinator import Coordinator
from coordinator.errors import BatutaError
from tests.integration import adopted_project as p
from celery.contrib.abortable import AbortableAsyncResult
from tests.waiting import wait_until
coordinator, told = Coordinator.from_settings(), sys.argv[1]

def seen(job, step, state):
    found = p.app.AsyncResult(f"{job}:0.{step}")
    wait_until(lambda: found.state == state, what=f"{step} to be {state}")
    return found

def result(job):
    try:
        return coordinator.wait(job, timeout_s=30)
    except BatutaError as error:
        return str(error)

canvases = {
    "hooks": chain(p.one.s(1), p.again.s()),
    "replaced": chain(p.one.s(1), p.replaced.s()),
    "fails": chain(p.one.s(1), p.fails.s()),
    "place": p.place.s(),
    "retried_elsewhere": p.retried_elsewhere.s(1),
    "retried_with_the_same": chain(p.one.s(4), p.retried_with_the_same.s()),
    "retried_at": p.retried_at.s(),
    "headers": p.hands_headers_on.s(7),
    "expired": p.unheard.s(1).set(expires=0.001),
    "tells": p.tells.s(told),
    "looks": p.looks.s(),
}
jobs = {name: coordinator.launch(canvas, key=name) for name, canvas in canvases.items()}
progress = seen("tells", "tells", "PROGRESS").info
open(told, "w").close()
AbortableAsyncResult(seen("looks", "looks", "LOOKING").id, app=p.app).abort()
found = {name: result(job) for name, job in jobs.items()}
handed = p.app.AsyncResult(found["headers"]).get(timeout=20)
after = seen("tells", "tells", "SUCCESS").state
print(json.dumps({**found, "progress": progress, "after": after, "handed": handed}))
"""


@pytest.fixture(scope="module", params=["installed", "own"])
def ran(request: Any, rabbitmq: Any, redis_server: Any, tmp_path_factory: Any) -> dict[str, Any]:
    """What came of the project's canvases, on its application and on Batuta's, and what its hooks noted."""
    home: Path = tmp_path_factory.mktemp(request.param)
    env = make_services("rabbitmq", rabbitmq.url(), redis_server.url(1)).env
    queue, notes = env["COORDINATOR_QUEUE"], home / "notes"
    env |= {"PROJECT_QUEUE": queue, "PROJECT_NOTES": str(notes), "COORDINATOR_JOBS": NAME}
    if request.param == "own":
        env["PROJECT_OWN"] = "1"
    worker = Worker(
        env,
        home=home,
        app=NAME if request.param == "installed" else "coordinator.app",
        concurrency=4,
        queues=[queue, f"{queue}-heavy"],
    ).start()
    try:
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(home / "told")],
            env={**os.environ, **env, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    finally:
        worker.stop()
    assert ended.returncode == 0, ended.stderr + worker.log.read_text()[-6000:]
    noted = [json.loads(line) for line in notes.read_text().splitlines()]
    return {**json.loads(ended.stdout), "noted": noted, "queue": queue}


def noted(ran: dict[str, Any], task: str) -> list[Any]:
    return [rest for name, *rest in ran["noted"] if name == task]


def test_hooks_are_called_with_the_value_that_came_before_when_a_step_runs(ran):
    """A pause of the class's own ``retry`` holds as well: the task's would have been five minutes."""
    assert ran["hooks"] == 2
    assert noted(ran, "again") == [
        ["before_start", [1]],
        ["on_retry", "away", [1]],
        ["before_start", [1]],
        ["on_success", 2, [1]],
        ["after_return", "SUCCESS", [1]],
    ]
    assert noted(ran, "fails") == [
        ["before_start", [1]],
        ["on_failure", "not 1", [1]],
        ["after_return", "FAILURE", [1]],
    ]


def test_replaced_step_is_neither_retried_nor_said_to_have_succeeded_when_it_retries_by_itself(ran):
    """As in Celery: ``autoretry_for=(Exception,)`` lets ``replace`` pass, and no hook is told of a value."""
    assert ran["replaced"] == 2
    assert noted(ran, "replaced") == [["before_start", [1]]]


def test_router_is_asked_with_the_task_when_a_step_is_sent(ran):
    """Routes that are functions may look at the task."""
    assert ran["place"] == f"{ran['queue']}-heavy"


def test_retry_is_refused_when_it_asks_for_what_a_step_cannot_change(ran):
    """Nothing is dropped in silence; the arguments that the step has are no others."""
    assert "but retry() got args, queue; take that off" in ran["retried_elsewhere"]
    assert ran["retried_with_the_same"] == 4


def test_retry_waits_until_its_time_when_that_names_no_zone(ran):
    """``eta`` made every such retry fail its job."""
    assert isinstance(ran["retried_at"], float)


def test_task_runs_when_a_step_hands_its_headers_on(ran):
    """A message with another step's header is a task of its own."""
    assert ran["handed"] == 7


def test_expired_step_fails_its_job_when_its_task_ignores_results(ran):
    """What Celery would keep to itself ends the job."""
    assert "the step expired before a worker took it" in ran["expired"]


def test_state_of_a_tasks_own_is_read_when_a_step_has_set_it(ran):
    """``update_state``, and what is built on it: abortable tasks."""
    assert (ran["progress"], ran["after"], ran["tells"]) == ({"done": 3}, "SUCCESS", "told")
    assert ran["looks"] == "aborted"
