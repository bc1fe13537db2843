"""The whole of docker-compose.yml, a real job through it, and parts of it killed in the middle."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.deploy.client import Api, outputs
from tests.deploy.stack import MAIN, CommandFailed, Stack, crash, docker, inspect, wait_healthy
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., Stack]) -> Stack:
    """All of it, with one worker."""
    made = make_stack()
    made.up(worker=1)
    return made


@pytest.mark.parametrize(
    "lacking", ["RABBITMQ_PASSWORD", "REDIS_PASSWORD", "FLOWER_PASSWORD", "COORDINATOR_API_TOKENS"]
)
def test_stack_is_refused_when_a_secret_is_empty(engine: None, env: dict[str, str], lacking: str) -> None:
    """Nothing has a default password."""
    Stack("batuta-test", (MAIN,), env).compose("config")
    with pytest.raises(CommandFailed, match=lacking):
        Stack("batuta-test", (MAIN,), {**env, lacking: ""}).compose("config")


def test_strangers_are_kept_out_when_the_stack_is_up(stack: Stack, api: Api, env: dict[str, str]) -> None:
    """Flower asks for its password, the API for a token; every part has a limit, and loopback ports alone."""
    flower = f"http://127.0.0.1:{env['FLOWER_PORT']}/jobs"
    assert requests.get(flower, timeout=20).status_code == 401
    assert requests.get(flower, auth=("batuta", env["FLOWER_PASSWORD"]), timeout=20).status_code == 200
    assert requests.get(f"{api.url}/jobs", timeout=20).status_code == 401
    assert api.get("/jobs")["jobs"] == []
    for container in itertools.chain.from_iterable(
        stack.containers(service) for service in ("rabbitmq", "redis", "worker", "api", "flower")
    ):
        found = inspect(container)
        assert found["HostConfig"]["Memory"] > 0
        assert all(
            bound["HostIp"] == "127.0.0.1"
            for ports in found["NetworkSettings"]["Ports"].values()
            for bound in ports or ()
        )


def test_job_ends_right_when_a_worker_and_rabbitmq_are_killed_in_the_middle(
    stack: Stack, api: Api, shared: Path
) -> None:
    """Its output is, byte for byte, that of the job that nobody disturbed, and everything comes back."""
    undisturbed = api.process("undisturbed")
    api.wait(undisturbed)

    stack.up(worker=3)
    job = api.process("disturbed")
    running = wait_until(
        lambda: api.steps(job, "succeeded") and api.steps(job, "running"), timeout_s=60, what="steps to run"
    )
    victim = next(
        container
        for container in stack.containers("worker")
        if any(container.startswith(step["worker"].partition("@")[2]) for step in running)
    )
    (rabbitmq,) = stack.containers("rabbitmq")
    crash(victim)
    crash(rabbitmq)
    wait_until(lambda: inspect(rabbitmq)["RestartCount"] == 1, what="the engine to start RabbitMQ again")
    wait_healthy(rabbitmq)
    elect_leaders(rabbitmq)
    api.wait(job)

    assert outputs(shared / "disturbed") == outputs(shared / "undisturbed")
    assert inspect(victim)["RestartCount"] >= 1
    wait_healthy(victim)
    assert queues(rabbitmq)["batuta"] in ("quorum", "rabbit_quorum_queue")


def elect_leaders(rabbitmq: str) -> None:
    """Do what docs/guarantees.md says of a single node of RabbitMQ 3.10 that was killed outright."""
    version = docker("exec", rabbitmq, "rabbitmqctl", "--quiet", "version").strip()
    if int(version.partition(".")[0]) < 4:
        call = "ra:trigger_election({'%2F_batuta', node()})."
        docker("exec", rabbitmq, "rabbitmqctl", "--quiet", "eval", call)


def queues(rabbitmq: str) -> dict[str, str]:
    rows = json.loads(
        docker(
            "exec", rabbitmq, "rabbitmqctl", "--quiet", "--formatter", "json", "list_queues", "name", "type"
        )
    )
    return {row["name"]: str(row["type"]) for row in rows}
