"""A job's progress: all of it is done when the job has succeeded, whatever was lost or grew on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import chain, chord, group

from coordinator import each, race
from coordinator.dashboard.view import job_view, jobs_page
from coordinator.errors import JobFailed
from coordinator.graph import fold
from coordinator.state.standing import standing
from coordinator.states import StepState
from tests.flows import add, after_file, double, fail, numbers_by_page, odd_only, slowly, total, wait_for_file
from tests.integration.racers import JOBS, grown_lane, note_failure, win_when
from tests.waiting import wait_until


def counts(coordinator, job: str) -> tuple[int, int, int]:
    status = coordinator.status(job)
    return status.steps_done, status.steps_total, status.steps_lost


def test_all_is_done_when_lanes_that_grew_are_lost(coordinator, start_worker, tmp_path):
    """A canvas and a stream in the place of a loser's steps are lost with it: steps, items and batches."""
    start_worker(concurrency=4, env=JOBS)  # so many steps wait at once
    gate, never = tmp_path / "gate", str(tmp_path / "never")
    stream = each(after_file.s(never), batch=1, window=2, over=range(50))
    job = coordinator.launch(chain(race(win_when.s(str(gate), 7), grown_lane.s(never), stream), double.s()))
    wait_until(lambda: coordinator.status(job).steps_total == 5 + 4 + 50, what="both to have grown")
    wait_until(lambda: coordinator.status(job).steps_done >= 1 + 3, what="what they do at once")

    gate.touch()

    assert coordinator.wait(job, timeout_s=20) == 14
    done, whole, lost = counts(coordinator, job)
    assert done == whole and done + lost == 5 + 4 + 50 and lost >= 2 + 2 + 47
    found = {step.key: step.state for step in coordinator.steps(job)}
    assert set(found.values()) == {StepState.SUCCEEDED, StepState.LOST}
    assert (found["2"], found["2/0"], found["2/2"], found["3"]) == ("lost", "succeeded", "lost", "lost")


def test_what_was_lost_counts_again_when_a_race_is_run_again(coordinator, start_worker, tmp_path):
    """All lanes failed, one in a canvas in a step's place, one in a stream; a retry finds them all."""
    start_worker(env=JOBS)
    gate = tmp_path / "gate"
    stream = each(after_file.s(str(gate), 0.1), batch=1, combine=total.s(), over=range(6))
    job = coordinator.launch(race(grown_lane.s(str(gate), 0.1), stream))
    with pytest.raises(JobFailed):
        coordinator.wait(job, timeout_s=20)
    done, whole, lost = counts(coordinator, job)
    assert done + lost < 3 + 4 + 6 and lost and done < whole

    gate.write_text("on")
    coordinator.retry(job)

    coordinator.wait(job, timeout_s=20)
    done, whole, lost = counts(coordinator, job)
    assert done == whole and done + lost == 3 + 4 + 6


@pytest.mark.parametrize("start", ["0", "1", "2", "3"])
def test_all_is_done_when_a_job_is_run_again_from_any_of_its_steps(
    start, coordinator, start_worker, tmp_path
):
    """Also from a step that is lost, or in whose place a canvas stood."""
    start_worker(env=JOBS)
    gate = tmp_path / "gate"
    lanes = race(chain(grown_lane.s(str(gate)), double.s()), slowly.s(1, 1.0))
    job = coordinator.launch(chain(lanes, wait_for_file.si(str(gate), 0.1)))
    with pytest.raises(JobFailed):
        coordinator.wait(job, timeout_s=20)

    gate.write_text("x")
    coordinator.retry(job, from_step=start)

    coordinator.wait(job, timeout_s=20)
    done, whole, lost = counts(coordinator, job)
    assert done == whole and done + lost in (5, 5 + 4)


@pytest.mark.parametrize(
    "build",
    [
        lambda: each(double.s(), over=range(0), join=total.s()),
        lambda: each(double.s(), over=numbers_by_page.s(10, 0), combine=total.s()),
        lambda: each(odd_only.s(), over=range(10), batch=3, allow_failed=0.5, combine=total.s()),
        lambda: chain(group(), add.s(1, 1), group(), chord([], total.si([1]))),
    ],
    ids=["no items", "no pages", "failed items", "empty groups"],
)
def test_all_is_done_when_there_is_little_to_do(build, coordinator, start_worker):
    """Nothing is waited for that never comes."""
    start_worker(env=JOBS)
    job = coordinator.launch(build())

    coordinator.wait(job, timeout_s=20)

    done, whole, lost = counts(coordinator, job)
    assert done == whole > 0 and lost == 0


def test_progress_of_a_failed_job_stays_within_the_whole_when_error_callbacks_run(
    coordinator, start_worker, tmp_path
):
    """Callbacks count as steps from when they are called, and no more once the job is retried."""
    start_worker(env=JOBS)
    callbacks, gate = [tmp_path / "one", tmp_path / "two"], tmp_path / "gate"
    canvas = wait_for_file.s(str(gate), 0.1)
    for path in callbacks:
        canvas.link_error(note_failure.s(str(path)))
    job = coordinator.launch(canvas)
    assert coordinator.status(job).steps_total == 1
    with pytest.raises(JobFailed):
        coordinator.wait(job, timeout_s=20)
    wait_until(lambda: all(Path(path).exists() for path in callbacks), what="the callbacks")
    wait_until(lambda: counts(coordinator, job) == (2, 3, 0), what="both to be recorded")

    gate.write_text("x")
    coordinator.retry(job)

    assert coordinator.wait(job, timeout_s=20) == "x"
    assert counts(coordinator, job) == (1, 1, 0)


def test_dashboard_and_graph_tell_lost_steps_from_done_ones(coordinator, start_worker):
    """In the list, on the job's page, and in its picture."""
    start_worker(env=JOBS)
    job = coordinator.launch(race(add.s(1, 1), chain(fail.si("x"), double.s())))
    wait_until(lambda: coordinator.wait(job, timeout_s=20) == 2)

    (row,) = jobs_page(coordinator, None, None, job, 10, None)["jobs"]
    page = job_view(coordinator, job)
    stands = standing(coordinator.state_manager, job)

    assert (
        (row["done"], row["total"], row["lost"])
        == (2, 2, 2)
        == tuple(page["job"][name] for name in ("done", "total", "lost"))
    )
    assert stands.recorded == {"0", "1"} and "3" in stands.lost
    assert len(fold(stands.plan).nodes) and "graph-lost" in page["graph"]
