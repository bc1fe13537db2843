"""Requests: parameters, their faults, and what is printed where."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from coordinator import errors
from coordinator.cli.kinds import strange_params
from coordinator.states import Receipt, State
from tests.unit.cli.conftest import JOB, make_job, raising


def test_submit_prints_only_the_id(call):
    """``id=$(submit …)`` works; what a person wants to know goes to stderr."""
    result = call("submit", "orders", "-p", "source=a.csv")
    assert result.stdout == f"{JOB}\n"
    assert f"watch {JOB}" in result.stderr


def test_submit_passes_every_option_on(facade, call):
    """Values are JSON where they parse; times are seconds."""
    call("submit", "orders", "-p", "source=a.csv", "-p", "share=0.5", "-p", 'rules={"a": 1}', "--key", "k")
    call("submit", "orders", "-p", "source=a", "--queue", "q", "--priority", "9", "--deadline", "2h")
    first, second = (call[1] for call in facade.calls)
    assert first["params"] == {"source": "a.csv", "share": 0.5, "rules": {"a": 1}}
    assert (first["key"], first["queue"], first["priority"], first["deadline_s"]) == ("k", None, None, None)
    assert (second["queue"], second["priority"], second["deadline_s"]) == ("q", 9, 7200.0)


@pytest.mark.parametrize("text", ["7", "true", "null", "[1]"])
def test_text_stays_text_when_the_parameter_takes_only_text(facade, call, text):
    """A file that is named 7 needs no quotes."""
    call("submit", "orders", "-p", f"source={text}")
    assert facade.calls[0][1]["params"]["source"] == text


def test_params_come_from_stdin_and_p_wins(facade, call):
    """A program can pipe a whole request."""
    call("submit", "orders", "--params", "-", "-p", "share=0.2", stdin='{"source": "a", "share": 0.9}')
    assert facade.calls[0][1]["params"] == {"source": "a", "share": 0.2}


def test_params_come_from_toml_when_the_file_is_named_so(facade, call, tmp_path):
    """A file with comments is kinder to people."""
    file = tmp_path / "request.toml"
    file.write_text('source = "a.csv"  # the newest\n')
    call("submit", "orders", "--params", str(file))
    assert facade.calls[0][1]["params"] == {"source": "a.csv"}


@pytest.mark.parametrize("text", ["[1]", "{", ""])
def test_params_are_refused_when_no_json_object(facade, call, text):
    """Nothing is sent."""
    result = call("submit", "orders", "--params", "-", stdin=text)
    assert result.exit_code == 2
    assert facade.calls == []


@pytest.mark.parametrize("text", ['\ufeff{"source": "a"}\r\n', '{\r\n"source": "a"}'])
def test_params_are_read_when_windows_wrote_the_file(facade, call, tmp_path, text):
    """A byte order mark and carriage returns are no faults."""
    file = tmp_path / "request.json"
    file.write_bytes(text.encode())
    call("submit", "orders", "--params", str(file))
    assert facade.calls[0][1]["params"] == {"source": "a"}


def test_params_are_refused_in_plain_words_when_not_utf_8(facade, call, tmp_path):
    """The file, what was expected and what was found are said."""
    file = tmp_path / "request.json"
    file.write_bytes('{"source": "a"}'.encode("utf-16"))
    result = call("submit", "orders", "--params", str(file))
    assert result.exit_code == 2 and facade.calls == []
    assert f"{file}: expected UTF-8, got byte 0xff at 0" in result.stderr


def test_timeout_is_refused_when_nobody_watches(facade, call):
    """It would be left out in silence, by whoever meant a deadline."""
    result = call("submit", "orders", "-p", "source=a", "--timeout", "10m")
    assert result.exit_code == 2 and "--deadline" in result.stderr
    assert facade.calls == []


@pytest.mark.parametrize("text", ["9" * 400, "9" * 400 + "d", "0", "1e3"])
def test_time_is_refused_when_it_is_none(facade, call, text):
    """Also one that no computer can hold."""
    result = call("submit", "orders", "-p", "source=a", "--deadline", text)
    assert result.exit_code == 2 and "expected a time such as" in result.stderr
    assert facade.calls == []


def test_key_is_refused_when_empty(facade, call):
    """``--key "$UNSET"`` must not make a job at each call, unnoticed."""
    result = call("submit", "orders", "-p", "source=a", "--key", "")
    assert result.exit_code == 2 and "'--key'" in result.stderr
    assert facade.calls == []


class Loose(BaseModel):
    """A model that pydantic reads in its own way: names that it does not know are left out."""

    pause_s: float = Field(0, validation_alias=AliasChoices("pause_s", "pause"))


class Open(BaseModel):
    """A model that takes whatever it gets."""

    model_config = ConfigDict(extra="allow")


def test_parameter_is_corrected_when_its_model_would_leave_it_out():
    """A mistyped name never goes unnoticed; an alias is none, and a model may take all names."""
    loose, taking = SimpleNamespace(name="loose", params=Loose), SimpleNamespace(name="open", params=Open)
    assert strange_params(loose, ["pause_s", "pause"]) == []
    assert strange_params(loose, ["pausee_s"]) == [
        "loose has no parameter 'pausee_s'; did you mean 'pause_s'?"
    ]
    assert strange_params(taking, ["anything"]) == []


def test_pair_is_refused_when_it_has_no_equals_sign(facade, call):
    """The form that was expected is said."""
    result = call("submit", "orders", "-p", "source")
    assert result.exit_code == 2
    assert "key=value" in result.stderr


def test_every_fault_has_its_line_when_params_are_wrong(facade, call):
    """All faults at once, and where the parameters are explained."""
    faults = ["source: missing", "share: too large"]
    facade.fault = errors.InvalidParams(f"they don't fit orders: {'; '.join(faults)}", errors=faults)
    result = call("submit", "orders", "-p", "share=7")
    assert result.exit_code == 3
    assert result.stderr.splitlines()[:3] == [
        "error: they don't fit orders",
        "  - source: missing",
        "  - share: too large",
    ]
    assert "kinds orders" in result.stderr
    answer = json.loads(call("submit", "orders", "-p", "share=7", "-o", "json").stdout)
    assert answer["error"]["errors"] == faults


def test_parameter_is_corrected_when_mistyped(facade, call):
    """Each mistyped name is told with the one that was meant, and nothing is sent."""
    result = call("submit", "orders", "-p", "sorce=a.csv", "-p", "colour=red")
    assert result.exit_code == 2
    assert "did you mean 'source'?" in result.stderr and "'colour'; it takes" in result.stderr
    assert result.stderr.rstrip().endswith("kinds orders")
    assert facade.calls == []


def test_kinds_are_pointed_at_when_none_is_given(call):
    """A newcomer who types run alone is told where to look."""
    assert call("run").stderr.splitlines()[1].endswith(" kinds")


def test_kind_is_corrected_when_mistyped(call):
    """An unknown kind is a mistyped command line."""
    result = call("run", "order")
    assert result.exit_code == 2
    assert "did you mean 'orders'" in result.stderr


@pytest.mark.parametrize("command", ["submit", "run"])
def test_help_lists_the_parameters_when_a_kind_is_named(call, command):
    """A newcomer finds a kind's parameters where the kind is used."""
    out = call(command, "orders", "--help").stdout
    assert "source" in out and "File to read. [text; required]" in " ".join(out.split())
    assert "default: 0.1" in out


def test_kinds_shows_parameters_when_a_kind_is_named(call):
    """What is required stands first, with a line to copy."""
    out = call("kinds", "orders").stdout
    assert out.index("source") < out.index("share")
    assert "run orders -p source=…" in out
    assert json.loads(call("kinds", "orders", "-o", "json").stdout)["params"][0]["name"] == "source"


def test_submit_exits_with_3_when_rejected_at_once(facade, call):
    """The reasons are on stderr and no id is on stdout."""
    facade.receipt = Receipt(JOB, "rejected", ("the rules don't compile",))
    result = call("submit", "orders", "-p", "source=a")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "the rules don't compile" in result.stderr
    assert f"status {JOB}" in result.stderr


def test_submit_says_so_when_the_key_was_used_before(facade, call):
    """The same key makes one job; its id is printed again."""
    facade.receipt, facade.found = Receipt(JOB, "duplicate"), [make_job()]
    result = call("submit", "orders", "-p", "source=a", "--key", "k")
    assert (result.exit_code, result.stdout) == (0, f"{JOB}\n")
    assert "before; this is its job" in result.stderr


def test_submit_exits_with_3_when_the_key_was_rejected_before(facade, call):
    """The same request gets the same answer."""
    facade.receipt, facade.found = Receipt(JOB, "duplicate"), [make_job(State.REJECTED)]
    facade.result = raising(errors.JobRejected("no such column"))
    assert call("submit", "orders", "-p", "source=a", "--key", "k").exit_code == 3


def test_dry_run_sends_nothing(facade, call):
    """The steps are shown instead."""
    result = call("submit", "orders", "-p", "source=a", "--dry-run")
    assert "orders.survey" in result.stdout
    assert facade.calls == []


def test_dry_run_counts_messages_and_queues_when_many_steps_are_parallel(facade, call):
    """Thousands of parallel steps are one row; the messages are told, queue by queue."""
    result = call("submit", "orders", "-p", "source=a", "--dry-run")
    steps, _, queues = result.stdout.partition("\n\n")
    assert [line.split()[0] for line in steps.splitlines()[1:]] == ["0", "1", "2001"]
    assert [line.split() for line in queues.splitlines()[1:]] == [
        ["batuta", "2", "w1@a"],
        ["slow", "2,000", "none"],
    ]
    assert "2,002 messages" in result.stderr

    document = json.loads(call("submit", "orders", "-p", "source=a", "--dry-run", "-o", "json").stdout)
    assert document["messages"] == document["at_least"] == document["at_most"] == 2002
    assert [(queue["queue"], queue["messages"], queue["workers"]) for queue in document["queues"]] == [
        ("batuta", 2, ["w1@a"]), ("slow", 2000, []),
    ]  # fmt: skip
    assert document["steps"][1]["task"] == "orders.clean"


def test_dry_run_says_that_nobody_was_asked_when_the_broker_is_away(facade, call):
    """The plan needs no server; who would take it can't be known then."""
    facade.broker_fault = "the broker can't be used: refused"
    result = call("submit", "orders", "-p", "source=a", "--dry-run")
    assert result.exit_code == 0 and "not asked" in result.stdout
    assert "could not be asked: the broker can't be used: refused" in result.stderr
    document = json.loads(call("submit", "orders", "-p", "source=a", "--dry-run", "-o", "json").stdout)
    assert document["queues"][0]["workers"] is None and "refused" in document["workers_fault"]


def test_run_prints_the_result_when_the_job_succeeded(facade, call):
    """Progress is on stderr, so the result can be piped."""
    facade.found, facade.value = [make_job(State.SUCCEEDED)], {"rows": 3}
    result = call("run", "orders", "-p", "source=a")
    assert json.loads(result.stdout) == {"rows": 3}
    assert "succeeded" in result.stderr


def test_run_detaches_when_interrupted(facade, call):
    """The job goes on and no result is printed."""
    facade.status = raising(KeyboardInterrupt())
    result = call("run", "orders", "-p", "source=a")
    assert (result.exit_code, result.stdout) == (130, "")


@pytest.mark.parametrize(
    ("error", "code"),
    [(errors.JobFailed("x"), 1), (errors.JobRejected("x"), 3), (errors.JobCancelled("x"), 6)],
)
def test_run_exits_as_the_job_ended(facade, call, error, code):
    """The exit code tells how the job ended."""
    facade.found = [make_job(State.FAILED)]
    facade.result = raising(error)
    assert call("run", "orders", "-p", "source=a").exit_code == code
