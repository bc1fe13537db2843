"""Steering jobs, alone and in numbers."""

from __future__ import annotations

import json

import pytest

from coordinator.states import State
from tests.unit.cli.conftest import JOB, make_job

TWO = ["orders-one", "orders-two"]


@pytest.fixture
def two(facade):
    """Two jobs that run and one that has ended."""
    facade.found = [make_job(name=name) for name in TWO] + [make_job(State.SUCCEEDED, "orders-zed")]
    return facade


def test_cancel_asks_nothing_when_one_id_is_given(facade, call):
    """What was named exactly needs no question."""
    facade.found = [make_job()]
    result = call("cancel", JOB)
    assert result.stdout == f"{JOB} cancelled\n"
    assert facade.calls == [("cancel", JOB)]


@pytest.mark.parametrize("words", [["cancel"], ["retry"], ["status"], ["steps"]])
def test_job_is_not_guessed_when_its_id_is_empty(facade, call, words):
    """``cancel "$UNSET"`` must not cancel the one job that there is, since any id begins so."""
    facade.found = [make_job(State.FAILED)]
    result = call(*words, "")
    assert result.exit_code == 2 and "got an empty text" in result.stderr
    assert facade.calls == []


def test_filter_takes_only_jobs_that_fit_when_no_state_is_given(two, call):
    """``cancel --kind`` leaves what has ended alone."""
    assert call("cancel", "--kind", "orders", "-y").exit_code == 0
    assert two.calls == [("cancel", name) for name in TWO]


def test_several_jobs_are_refused_when_nobody_can_be_asked(two, call):
    """A pipe is no consent: nothing changes without -y."""
    result = call("cancel", *TWO)
    assert result.exit_code == 2
    assert "2 jobs" in result.stderr and "-y" in result.stderr
    assert two.calls == []


@pytest.mark.parametrize(("answer", "changed"), [("y\n", 2), ("n\n", 0), ("\n", 0)])
def test_several_jobs_are_changed_only_when_confirmed(two, call, monkeypatch, answer, changed):
    """The count is told and the default answer is no."""
    monkeypatch.setattr("coordinator.cli.steer.is_askable", lambda: True)
    result = call("pause", "--state", "processing", stdin=answer)
    assert "pause 2 jobs?" in result.stderr
    assert len(two.calls) == changed


def test_one_fault_does_not_stop_the_others(two, call):
    """Every job gets its answer, and the exit code tells that one was refused."""
    result = call("cancel", "orders-zed", *TWO, "-y")
    assert result.exit_code == 3
    assert "is succeeded" in result.stderr
    assert two.calls == [("cancel", name) for name in TWO]


def test_answers_are_json_when_asked(two, call):
    """One list, with a state or an error for each job."""
    answers = json.loads(call("cancel", "orders-zed", TWO[0], "-y", "-o", "json").stdout)
    assert [set(answer) for answer in answers] == [{"id", "error"}, {"id", "state"}]


@pytest.mark.parametrize("words", [[], [JOB, "--kind", "orders"]])
def test_steer_is_refused_when_it_is_unclear_which_jobs(two, call, words):
    """Neither everything by accident, nor two filters that contradict."""
    result = call("cancel", *words)
    assert result.exit_code == 2
    assert two.calls == []


def test_filter_exits_with_0_when_nothing_fits(facade, call):
    """Nothing to do is no fault."""
    result = call("retry", "--state", "failed")
    assert result.exit_code == 0
    assert "no job" in result.stderr
    assert json.loads(call("retry", "--state", "failed", "-o", "json").stdout) == []


def test_retry_passes_the_step_on(facade, call, monkeypatch):
    """--from names the step to begin at."""
    facade.found = [make_job(State.FAILED)]
    seen = []
    monkeypatch.setattr(facade, "retry", lambda job, from_step: seen.append(from_step) or make_job())
    call("retry", JOB, "--from", "2")
    assert seen == ["2"]
