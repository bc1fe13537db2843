"""Commands that look at jobs."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from coordinator import errors
from coordinator.cli.program import main
from coordinator.states import Event, State, StepState
from tests.unit.cli.conftest import JOB, make_flag, make_job, make_step, raising


@pytest.mark.parametrize("words", [["list"], ["alerts"], ["steps", JOB]])
def test_json_is_an_empty_list_when_there_is_nothing(facade, call, words):
    """Scripts get a list, not silence."""
    facade.found = [make_job()] if JOB in words else []
    assert json.loads(call(*words, "-o", "json").stdout) == []


def test_list_says_so_on_stderr_when_there_is_nothing(call):
    """Nothing on stdout that a script could take for a job."""
    result = call("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no jobs yet" in result.stderr


def test_list_shows_plain_columns_when_piped(facade, call):
    """One job a line, no colour codes, no cut ids."""
    facade.found = [make_job(), make_job(State.FAILED, "orders-zzz")]
    lines = call("list").stdout.splitlines()
    assert lines[0].split() == ["JOB", "STATE", "VERSION", "STEPS", "CREATED", "TOOK"]
    assert lines[1].startswith(JOB) and "processing" in lines[1] and "3/10" in lines[1]
    assert "\x1b" not in "".join(lines)


def test_list_is_filtered_when_asked(facade, call):
    """--state and --kind go to the façade."""
    facade.found = [make_job(), make_job(State.FAILED, "orders-zzz")]
    rows = json.loads(call("list", "--state", "failed", "-o", "json").stdout)
    assert [row["id"] for row in rows] == ["orders-zzz"]
    assert rows[0]["created_ms"] == 1_700_000_000_000


def test_kind_is_corrected_when_nothing_is_of_it(call):
    """A mistyped filter is not taken for an empty list."""
    result = call("list", "--kind", "order")
    assert result.exit_code == 0
    assert "did you mean 'orders'?" in result.stderr


def test_status_shows_error_checks_and_what_next_when_failed(facade, call):
    """All that one needs to act is on one screen."""
    error = {"step": "1/0", "type": "ValueError", "message": "no such column"}
    facade.found = [
        make_job(State.FAILED, error=error, params={"source": "a.csv"}, flags=(make_flag(valid=True),))
    ]
    out = call("status", JOB).stdout
    assert "step 1/0: ValueError: no such column" in out
    assert "orders.readable: ok" in out
    assert "source: a.csv" in out
    assert f"retry {JOB}" in out


def test_status_shows_the_traceback_when_verbose(facade, call):
    """Where a step failed in its own code is one flag away, indented as Python wrote it."""
    error = {"step": "1/0", "type": "ValueError", "message": "no", "traceback": "Traceback:\n  File x"}
    facade.found = [make_job(State.FAILED, error=error)]
    assert "File x" not in call("status", JOB).stdout
    assert "             File x" in call("status", "-v", JOB).stdout


def test_status_takes_a_prefix_when_it_is_unique(facade, call):
    """Ids may be shortened."""
    facade.found = [make_job()]
    assert json.loads(call("status", "orders-a", "-o", "json").stdout)["id"] == JOB


def test_status_exits_with_4_when_the_job_is_unknown(call):
    """Not found has its own code."""
    assert call("status", "nothing").exit_code == 4


def test_result_is_json_when_the_job_succeeded(facade, call):
    """The result can be piped into a program."""
    facade.found, facade.value = [make_job(State.SUCCEEDED)], {"rows": 3}
    assert json.loads(call("result", JOB).stdout) == {"rows": 3}


@pytest.mark.parametrize("words", [["result", JOB], ["status", JOB, "-o", "json"], ["status", JOB]])
def test_text_is_printed_when_it_is_no_utf_8(facade, call, words):
    """Names of files may be so, and what a step returns or is told of them."""
    facade.found = [make_job(State.SUCCEEDED, params={"file": "\udcff.csv"})]
    facade.value = {"file": "\udcff.csv"}
    result = call(*words)
    assert result.exit_code == 0 and r"\udcff.csv" in result.stdout


def test_result_waits_when_given_a_time(facade, call):
    """--timeout alone means waiting, in seconds, minutes or hours."""
    facade.found = [make_job(State.SUCCEEDED)]
    call("result", JOB, "--timeout", "2m")
    assert facade.calls == [("wait", 120.0)]


def test_time_is_explained_when_it_can_not_be_read(call):
    """A wrong time says which forms are right."""
    result = call("result", JOB, "--timeout", "soon")
    assert result.exit_code == 2
    assert "10m" in result.stderr


def test_steps_finds_the_failed_one_when_it_lies_behind_the_limit(facade, call):
    """A filter looks at every step."""
    ran = [make_step(f"1/{i}", StepState.SUCCEEDED) for i in range(5)]
    facade.found, facade.ran = [make_job()], [*ran, make_step("1/9", error={"type": "E", "message": "bad"})]
    out = call("steps", JOB, "--state", "failed", "--limit", "1").stdout
    assert "1/9" in out and "E: bad" in out and "1/0" not in out


def test_steps_count_no_attempts_when_others_stood_for_a_step(facade, call):
    """A race, an each, a step that replaced itself: nothing is said, rather than that it never ran."""
    facade.found = [make_job()]
    facade.ran = [make_step("1", StepState.SUCCEEDED), make_step("2", StepState.WAITING)]
    first, second = (line.split() for line in call("steps", JOB).stdout.splitlines()[1:])
    assert first == ["1", "orders.clean", "succeeded"] and second[-1] == "0"


def test_events_are_json_lines_when_json(facade, call):
    """One object a line, so that a follower can read as they come."""
    facade.found = [make_job(State.SUCCEEDED)]
    facade.told = [Event("1", 5, JOB, "submitted"), Event("2", 6, JOB, "succeeded")]
    lines = call("events", JOB, "--follow", "-o", "json").stdout.splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["submitted", "succeeded"]


def test_events_of_all_jobs_go_on_when_redis_restarts(facade, call):
    """A short absence of the server doesn't end what follows; Ctrl-C does."""
    first, second = (
        Event("0:1", 5, JOB, "submitted"),
        Event("3:1", 6, "orders-zzz", "step-failed", "1/0.a", "bad"),
    )
    facade.looks = [[first], errors.StateUnreachable("gone"), [second]]
    result = call("events", "--follow")
    assert result.exit_code == 130
    lines = [line.partition("  ")[2].split() for line in result.stdout.splitlines()]
    assert lines == [[JOB, "submitted"], ["orders-zzz", "step-failed", "1/0.a", "bad"]]
    assert result.stderr.count("gone; trying again") == 1


def test_events_are_those_into_a_state_when_asked(facade, call):
    """--state takes the events by which a job comes into it, whatever they are called."""
    facade.looks = [[Event("0:1", 5, JOB, word) for word in ("submitted", "processing", "paused", "resumed")]]
    result = call("events", "--state", "processing")
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["processing", "resumed"]
    assert facade.calls == [("feed", True)]


def test_events_refuse_a_kind_when_a_job_is_named(facade, call):
    """A job is of one kind: whoever gives both has mistyped something."""
    facade.found = [make_job()]
    assert call("events", JOB, "--kind", "orders").exit_code == 2


def test_watch_tells_each_change_once_when_piped(facade, call):
    """Plain lines, and only when something changed."""
    states = [make_job(), make_job(), make_job(steps_done=9), make_job(State.SUCCEEDED, steps_done=10)]
    facade.found = [make_job()]
    facade.status = lambda _: states.pop(0)
    result = call("watch", JOB)
    assert result.exit_code == 0
    assert [line.split()[2:4] for line in result.stdout.splitlines()] == [
        ["processing", "3/10"],
        ["processing", "9/10"],
        ["succeeded", "10/10"],
    ]


def test_watch_goes_on_when_redis_restarts(facade, call):
    """A short absence of the server doesn't end the watch."""
    answers = [errors.StateUnreachable("gone"), make_job(State.SUCCEEDED)]

    def status(_):
        if isinstance(answers[0], Exception):
            raise answers.pop(0)
        return answers[0]

    facade.found = [make_job()]
    facade.status = status
    assert call("watch", JOB).exit_code == 0


def test_watch_times_out_with_124_when_the_job_goes_on(facade, call):
    """The job is left alone, and how to follow it is said."""
    facade.found = [make_job()]
    result = call("watch", JOB, "--timeout", "0.01")
    assert result.exit_code == 124
    assert f"watch {JOB}" in result.stderr


def test_watch_detaches_when_interrupted(facade, call):
    """Ctrl-C never cancels; it says how to attach again and exits with 130."""
    facade.found = [make_job()]
    facade.status = raising(KeyboardInterrupt())
    result = call("watch", JOB)
    assert result.exit_code == 130
    assert f"watch {JOB}" in result.stderr
    assert facade.calls == []


def test_events_of_a_job_are_followed_on_when_the_server_was_away(facade, call, monkeypatch):
    """As those of all jobs are, and as a watch is."""
    monkeypatch.setattr("coordinator.cli.watch.LAST_POLL_S", 0)
    facade.found = [make_job(State.SUCCEEDED)]
    facade.told = [Event("1-0", 1, JOB, "succeeded")]
    status, faults = facade.status, [errors.StateUnreachable("gone")]
    facade.status = lambda job: raising(faults.pop())() if faults else status(job)
    result = call("events", JOB, "--follow")
    assert result.exit_code == 0 and "succeeded" in result.stdout
    assert "gone; trying again" in result.stderr


def test_events_end_without_an_error_when_they_are_followed_and_interrupted(facade, call):
    """Ctrl-C is the way to end it: exit code 130, and no fault is told."""
    facade.found = [make_job()]
    facade.events = raising(KeyboardInterrupt())
    result = call("events", JOB, "--follow")
    assert result.exit_code == 130
    assert "error" not in result.stderr


def test_doctor_exits_with_1_when_something_is_wrong(facade, call):
    """Each finding says what to do; only errors change the exit code."""
    good = SimpleNamespace(name="redis", ok=True, level="ok", found="7.2", advice="")
    bad = SimpleNamespace(name="workers", ok=False, level="error", found="none", advice="start one")
    facade.checks = [good]
    assert call("doctor").exit_code == 0
    facade.checks = [good, bad]
    result = call("doctor")
    assert result.exit_code == 1
    assert "start one" in result.stdout


def test_advice_names_the_program_as_it_was_called(facade, monkeypatch):
    """Whoever installed the wheel has no manage.py."""
    monkeypatch.setattr("sys.argv", ["/usr/bin/batuta", "doctor"])
    facade.checks = [SimpleNamespace(name="workers", level="warn", found="none", advice="`manage.py worker`")]
    result = CliRunner().invoke(main, ["doctor"])
    assert "`batuta worker`" in result.stdout


def test_list_says_which_versions_still_run_when_kinds_have_moved_on(facade, call):
    """A job goes on with the plan of the version that it was submitted as."""
    old = [make_job(name=f"orders-{n}", version="0") for n in range(3)]
    gone = make_job(name="refunds-1", version="7")
    facade.found = [*old, replace(gone, kind="refunds"), make_job(State.SUCCEEDED, version="0")]

    result = call("list")

    assert result.stdout.splitlines()[1].split()[1:4] == ["processing", "0", "3/10"]
    assert "3 of orders go on as version 0; new ones are 1" in result.stderr
    assert "1 of refunds goes on as version 7; the kind is not registered here" in result.stderr
    assert json.loads(call("list", "-o", "json").stdout)[0]["version"] == "0"


def test_id_goes_on_in_the_next_line_when_the_terminal_is_narrow(facade, call, monkeypatch):
    """It stays whole, and so does the state."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("coordinator.cli.output.PIPE_WIDTH", 40)
    name = "a-key-of-many-words-that-its-author-liked-0123456789ab"
    facade.found = [make_job(State.PROCESSING, name)]
    lines = call("list", "-o", "table").stdout.splitlines()[1:]
    assert "".join(line.split()[0] for line in lines) == name
    assert "processing" in lines[0]
