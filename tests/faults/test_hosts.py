"""Three hosts on one machine, and links that are cut and healed under running jobs.

Network namespaces: where they are not allowed these tests are skipped, and the summary says so.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import chain

from coordinator import Coordinator
from coordinator.errors import JobNotFound
from coordinator.states import State, StepState
from tests.conftest import make_services
from tests.facade import opened
from tests.faults.figures import HOSTS, tell
from tests.faults.host_jobs import hold
from tests.faults.shapes import runs
from tests.flows import mark
from tests.servers import MissingServer, Process, RabbitMQ, Redis, Worker
from tests.servers.hosts import Cable, Host, Hosts, NoHosts
from tests.servers.process import ROOT
from tests.waiting import wait_until

#: The ends of the cables from the servers' host: TEST-NET-1 and, for RabbitMQ alone, TEST-NET-2.
ENDS = {"one": ("192.0.2.1", "192.0.2.2"), "two": ("192.0.2.5", "192.0.2.6")}
RABBIT_END = ("198.51.100.1", "198.51.100.2")


@dataclass
class Site:
    """The servers' host, two hosts for workers, and their cables."""

    home: Host
    hosts: dict[str, Host]
    cables: dict[str, Cable]
    rabbit_cable: Cable  # a second link from host two, over which it may reach RabbitMQ
    rabbitmq: RabbitMQ
    redis: Redis
    env: dict[str, str]

    def env_of(self, host: str, rabbit_at: str = "") -> dict[str, str]:
        """Return the environment of a process on a host: the servers are at the other end of its cable."""
        at = ENDS[host][0]
        broker = self.rabbitmq.url().replace("0.0.0.0", rabbit_at or at)  # noqa: S104  within a namespace
        return {**self.env, "BROKER_URL": broker, "REDIS_URL": self.redis.url(1).replace("0.0.0.0", at)}  # noqa: S104


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    with ExitStack() as stack:
        try:
            hosts = Hosts()
            stack.callback(hosts.remove)
            home, one, two = (hosts.make(name) for name in ("home", "one", "two"))
        except NoHosts as error:
            tell(HOSTS, f"NOT TRIED: {error}")
            pytest.skip(str(error))
        folder = tmp_path_factory.mktemp("site")
        cables = {
            name: Cable(home, ENDS[name][0], host, ENDS[name][1])
            for name, host in (("one", one), ("two", two))
        }
        rabbit_cable = Cable(home, RABBIT_END[0], two, RABBIT_END[1])
        stack.enter_context(home.inside())  # this thread looks on from the servers' host
        try:
            rabbitmq = RabbitMQ(folder / "rabbitmq", address="0.0.0.0")  # noqa: S104  within a namespace
            redis = Redis(folder / "redis", address="0.0.0.0")  # noqa: S104
        except MissingServer as error:
            pytest.skip(str(error))
        for server in (rabbitmq, redis):
            server.home.mkdir()
            stack.callback(server.stop)
            server.start()
        yield Site(home, {"one": one, "two": two}, cables, rabbit_cable, rabbitmq, redis, {})


@pytest.fixture
def coordinator(site) -> Iterator[Coordinator]:
    """A façade on the servers' host, which no cut keeps from them; queue and prefix are this test's own."""
    services = make_services("rabbitmq", "", "")
    site.env = {**services.env, "COORDINATOR_JOBS": "tests.flows,tests.faults.host_jobs"}
    with opened(site.env_of("one")) as facade:
        yield facade


@pytest.fixture
def start_on(site, tmp_path) -> Iterator[Any]:
    """Start a worker on a host: ``start_on("one")``."""
    workers: list[Worker] = []

    def start(host: str) -> Worker:
        worker = Worker(site.env_of(host), home=tmp_path)
        workers.append(worker)
        with site.hosts[host].inside():
            worker.launch()
        worker.wait_ready()
        return worker

    yield start
    for worker in workers:
        worker.kill()


def held(coordinator, job: str):
    return next(step for step in coordinator.steps(job) if step.task.endswith("hold"))


def test_step_is_taken_over_and_the_late_writer_is_fenced_when_a_link_was_cut(
    site, coordinator, start_on, tmp_path
):
    """Cut off in mid-step for longer than its lease, then healed: its write is refused, as an event."""
    names = {start_on(host).nodename: host for host in site.hosts}
    gate, path = str(tmp_path / "gate"), str(tmp_path / "runs")
    job = coordinator.launch(chain(mark.si("before", path), hold.si(gate), mark.s(path)))
    first = wait_until(lambda: held(coordinator, job).worker, what="the step to run")
    cable = site.cables[names[first]]
    cut_at = time.monotonic()
    cable.cut()
    try:
        second = wait_until(
            lambda: (
                (step := held(coordinator, job)).attempts == 2
                and step.state == StepState.RUNNING
                and step.worker
            ),
            timeout_s=60,
            what="the step to be taken over",
        )
        taken_s = time.monotonic() - cut_at
        Path(f"{gate}.1").touch()  # the one that is cut off ends first, and can't say so
    finally:
        cable.heal()
    fenced = wait_until(
        lambda: [event for event in coordinator.events(job) if event.event == "fenced"],
        timeout_s=60,
        what="the event of the refused write",
    )
    Path(f"{gate}.2").touch()

    assert coordinator.wait(job, timeout_s=30) == 2
    assert second != first and names[second] != names[first]
    assert "attempt 1 came late" in fenced[0].detail and "attempt 2" in fenced[0].detail
    assert runs(tmp_path / "runs") == ["before", "2"]
    tell(
        HOSTS,
        f"a step was taken over {taken_s:.1f} s after its worker's link was cut (lease 2 s); "
        "the late write was refused by its fence",
    )


@pytest.mark.parametrize("call", ["connect", "submit", "publish", "confirm"])
def test_submit_is_whole_or_absent_when_the_link_to_rabbitmq_is_cut_during_it(
    call, site, coordinator, start_on, tmp_path
):
    """Accepted and complete, or refused and absent; never in between."""
    start_on("one")
    key, path = f"cut-{call}", str(tmp_path / "runs")
    env = {**os.environ, **site.env_of("two", RABBIT_END[0]), "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "tests.faults.submit_held", key, path, call, str(tmp_path)]
    submitter = Process(words, log=tmp_path / "submitter.log", env=env)
    with site.hosts["two"].inside():
        submitter.launch()
    wait_until(lambda: (tmp_path / "reached").exists() or not submitter.is_alive(), what=f"the {call}")
    assert submitter.is_alive(), submitter.tail()

    site.rabbit_cable.cut()
    try:
        (tmp_path / "go").touch()
        wait_until(lambda: not submitter.is_alive(), timeout_s=120, what="the submitter to end")
    finally:
        site.rabbit_cable.heal()

    is_accepted = submitter.popen.returncode == 0
    if is_accepted:
        assert coordinator.wait(key, timeout_s=60) == 10
        assert coordinator.status(key).state == State.SUCCEEDED
        assert sorted(runs(tmp_path / "runs")) == list("01234")
    else:
        assert "BrokerUnreachable" in submitter.tail(200), submitter.tail()
        with pytest.raises(JobNotFound):
            coordinator.status(key)
        assert not runs(tmp_path / "runs")
    tell(HOSTS, f"link cut before {call}: {'accepted, complete' if is_accepted else 'refused, absent'}")
