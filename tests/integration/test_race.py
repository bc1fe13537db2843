from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest
from celery import chain, chord, group
from celery.result import AsyncResult

from coordinator import race
from coordinator.errors import JobFailed, UnsupportedCanvas
from coordinator.states import StepState
from tests.flows import add, double, fail, flaky, grow, lines, mark, total, wait_for_file
from tests.integration.racers import JOBS, run_on, win_when
from tests.waiting import wait_until

ENV = {**JOBS, "COORDINATOR_GRACE_S": "30"}


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def states_of(coordinator, job: str) -> dict[str, str]:
    return {step.key: step.state for step in coordinator.steps(job)}


def test_first_success_is_the_value_when_canvases_race(coordinator, start_worker, tmp_path):
    """The race's value is the winner's; what follows gets it; queued losers never run, and are lost."""
    start_worker(concurrency=1, env=ENV)
    runs = tmp_path / "runs"
    job = coordinator.launch(
        chain(
            add.s(1, 2), race(double.s(), mark.s(str(runs)), chain(mark.s(str(runs)), double.s())), add.s(10)
        )
    )

    assert coordinator.wait(job, timeout_s=20) == 16
    found = states_of(coordinator, job)
    assert found == {key: "lost" if key in "345" else "succeeded" for key in "0123456"}
    status = coordinator.status(job)
    assert (status.steps_done, status.steps_total, status.steps_lost) == (4, 4, 3)
    probe = coordinator.launch(add.s(0, 0))  # behind the losers in the one queue
    coordinator.wait(probe, timeout_s=20)
    assert not runs.exists()
    assert AsyncResult(f"{job}:3.mark[1]", app=coordinator.app).state == "REVOKED"


@pytest.mark.parametrize("is_polite", [True, False], ids=["looks at self.cancelled", "does not"])
def test_running_loser_is_stopped_within_2_s_when_another_wins(
    is_polite, coordinator, start_worker, tmp_path, services
):
    """A loser that looks sees that it is cancelled; one that does not is ended."""
    services.env["COORDINATOR_TICK_S"] = "1"  # as it is by default
    start_worker(concurrency=2, env=ENV)
    loser, gate = tmp_path / "loser", tmp_path / "gate"
    job = coordinator.launch(race(win_when.s(str(gate), "won"), run_on.s(str(loser), is_polite)))
    wait_until(lambda: lines(loser), what="the loser to run")

    gate.touch()
    assert coordinator.wait(job, timeout_s=20) == "won"
    won_at = time.time()
    if is_polite:
        wait_until(lambda: len(lines(loser)) > 1, what="the loser to stop")
        word, at = lines(loser)[-1].split()
        assert word == "stopped" and float(at) - won_at < 2
    else:
        pid = int(lines(loser)[0].split()[1])
        wait_until(lambda: not is_running(pid), what="the loser's process to be gone")
        assert time.time() - won_at < 2.5
    assert states_of(coordinator, job)["2"] == StepState.LOST
    assert len([line for line in lines(loser) if line.startswith("began")]) == 1, "a loser is not run again"


def test_race_goes_on_when_some_of_its_canvases_fail(coordinator, start_worker, tmp_path):
    """A failure within a race fails its lane alone: the job goes on, without an alert."""
    start_worker(env=ENV)
    gate = tmp_path / "gate"
    job = coordinator.launch(
        chain(
            race(
                fail.s("first"),
                chain(group(fail.s("second"), add.s(1, 1)), total.s()),
                chain(wait_for_file.s(str(gate)), mark.s(str(tmp_path / "runs"))),
            ),
            mark.s(str(tmp_path / "runs")),
        )
    )
    wait_until(
        lambda: list(states_of(coordinator, job).values()).count(StepState.FAILED) == 2, what="two failures"
    )
    gate.write_text("third")

    assert coordinator.wait(job, timeout_s=20) == "third"
    assert [alert for alert in coordinator.alerts() if alert["job"] == job] == []


def test_job_fails_once_when_all_canvases_of_a_race_fail(coordinator, start_worker):
    """All failing fails the job, with the last error; a retry races again."""
    start_worker(env=ENV)
    job = coordinator.launch(chain(race(fail.si("one"), race(fail.si("two"), fail.si("three"))), add.s(1)))

    with pytest.raises(JobFailed, match=r"one|two|three"):
        coordinator.wait(job, timeout_s=20)
    assert len([alert for alert in coordinator.alerts() if alert["job"] == job]) == 1

    coordinator.retry(job)
    with pytest.raises(JobFailed):
        coordinator.wait(job, timeout_s=20)
    attempts = {step.key: step.attempts for step in coordinator.steps(job) if step.task.endswith("fail")}
    assert attempts == {"1": 2, "3": 2, "4": 2}


def test_race_is_run_again_when_a_failed_job_is_retried(coordinator, start_worker, tmp_path):
    """What is recorded in a lane that failed is kept."""
    start_worker(env=ENV)
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    lane = chain(mark.s("a", str(runs)), wait_for_file.si(str(gate), 0.1), mark.s(str(runs)))
    job = coordinator.launch(race(lane, fail.si("always")))
    with pytest.raises(JobFailed):
        coordinator.wait(job, timeout_s=20)

    gate.write_text("b")
    coordinator.retry(job)

    assert coordinator.wait(job, timeout_s=20) == "b"
    assert lines(runs) == ["a", "b"]


@pytest.mark.parametrize(
    ("build", "value"),
    [
        (lambda: race(add.s(1, 1)), 2),
        (lambda: chord([race(add.s(1, 1), add.s(1, 1)), add.s(3, 3)], total.s()), 8),
        (lambda: chord([add.s(1, 1), add.s(2, 2)], race(total.s(), total.s())), 6),
        (lambda: group(race(add.s(1, 1), add.s(1, 1)), race(add.s(2, 2))), [2, 4]),
        (lambda: race(group(add.s(1, 1), add.s(2, 2)), fail.si("x")), [2, 4]),
        (lambda: race(chord([add.s(1, 1), add.s(2, 2)], total.s()), fail.si("x")), 6),
        (lambda: race(race(add.s(1, 1), fail.si("x")), fail.si("y")), 2),
        (lambda: chain(add.s(1, 1), race(double.s(), fail.si("y")), race(double.s(), fail.si("x"))), 8),
        (lambda: race(grow.s(3), fail.si("x")), 6),
        (lambda: chain(race(add.s(1, 1), fail.si("x")).set(link=double.s()), double.s()), 4),
    ],
)  # fmt: skip
def test_race_stands_anywhere_in_a_canvas_when_launched(build, value, coordinator, start_worker):
    """In a header, as a body, in a group, in a race, after a race, of whole canvases."""
    start_worker(env=ENV)

    job = coordinator.launch(build())

    assert coordinator.wait(job, timeout_s=20) == value
    status = coordinator.status(job)
    assert status.steps_done == status.steps_total


def test_loser_that_grew_or_waits_does_not_run_on_when_another_wins(coordinator, start_worker, tmp_path):
    """What stands in a loser's place and what waits for a timer are lost too."""
    start_worker(env=ENV)
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    late = mark.s("late", str(runs)).set(countdown=1.0)
    job = coordinator.launch(
        race(win_when.s(str(gate), "won"), late, flaky.s(f"{runs}.flaky", 3, 0.7), chain(grow.s(2), late))
    )
    wait_until(lambda: Path(f"{runs}.flaky").exists(), what="the retrying step to have run")

    gate.touch()

    assert coordinator.wait(job, timeout_s=20) == "won"
    probe = coordinator.launch(add.s(0, 0).set(countdown=1.5))
    coordinator.wait(probe, timeout_s=20)
    assert not runs.exists() and len(lines(Path(f"{runs}.flaky"))) == 1


def test_race_is_refused_when_there_is_nothing_to_race():
    """A race of nothing, of no signatures, or of an empty canvas."""
    from coordinator.compiler import compile_canvas

    with pytest.raises(UnsupportedCanvas, match="nothing"):
        race()
    with pytest.raises(UnsupportedCanvas, match="int"):
        race(add.s(1, 1), 3)
    with pytest.raises(UnsupportedCanvas, match=r"canvas\.race\[1\].*at least one task"):
        compile_canvas(race(add.s(1, 1), group()))
