"""``chaos`` kills only what is its own and local, and its jobs survive."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

from coordinator import about
from coordinator.chaos import KIND, Chaos, victims
from tests.acceptance.program import Program
from tests.waiting import wait_until


def asked(coordinator):
    return wait_until(
        lambda: about.ask(coordinator.app, coordinator.settings), what="an answer of the workers"
    )


def test_chaos_completes_every_job_once_when_children_are_killed(coordinator, start_worker):
    """Children die; each job ends, and what was handed on is what is recorded."""
    start_worker()
    start_worker()

    report = Chaos(coordinator.app.parts, seed=7).run(6)

    assert report.ok, report
    assert report.kills["child"] >= 2 and not report.kills["worker"]
    assert report.completed == report.jobs >= 8
    assert not coordinator.jobs() and coordinator.jobs(kind=KIND)  # of an internal kind: not in anybody's way


def test_chaos_shows_nothing_when_redis_is_away_all_the_while(elsewhere):
    """No job could be submitted, so none has survived."""
    coordinator = elsewhere(redis_url="redis://127.0.0.1:1/1")
    said = []

    report = Chaos(coordinator.app.parts, seed=7, say=said.append).run(1)

    assert not report.ok and not report.jobs
    assert any("can't submit now" in line for line in said)


def test_chaos_takes_no_process_that_is_not_the_workers_own(coordinator, start_worker):
    """Another host's worker, or a pid that has come to name another process, is no victim."""
    worker = start_worker()
    (said,) = asked(coordinator)
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert {victim.pid for victim in victims([said])} == set(worker.children())
        assert {victim.pid for victim in victims([said], whole_workers=True)} >= {worker.pid}
        remote = dataclasses.replace(said, machine="elsewhere")
        reused = dataclasses.replace(said, pid=stranger.pid)
        assert not victims([remote, reused], whole_workers=True)
    finally:
        stranger.kill()
        stranger.communicate()


def test_chaos_command_refuses_when_there_is_nobody_to_kill_or_to_ask(services, start_worker, tmp_path):
    """No worker on this host; then one, but nobody to answer the question."""
    program = Program.at(tmp_path, {**services.env, "COORDINATOR_JOBS": "tests.flows"})
    done = program("chaos", "--duration", "2s")
    assert done.returncode == 2 and "only processes of this host" in done.stderr, done.stderr
    start_worker()
    done = program("chaos", "--duration", "2s")
    assert done.returncode == 2 and "-y is needed" in done.stderr, done.stderr

    done = program("chaos", "--duration", "3s", "--seed", "5", "-y")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "seed" in done.stdout and "recorded twice" in done.stdout
