from __future__ import annotations

import json
from xml.etree import ElementTree

from coordinator.states import State, StepState, StepStatus
from tests.unit.cli.conftest import JOB, make_job


def test_graph_of_a_kind_is_a_few_lines_when_thousands_of_steps_are_parallel(facade, call):
    """Nothing is sent; the parallel steps are one line, and each line says what comes before."""
    result = call("graph", "orders", "-p", "source=a")

    steps, _, queues = result.stdout.partition("\n\n")
    assert [" ".join(line.split()) for line in steps.splitlines()] == [
        "0 survey",
        "1 – 2000 clean ×2,000 after 0",
        "2001 publish after all of 1 – 2000",
    ]
    assert queues.splitlines()[1].split() == ["batuta", "2", "w1@a"] and "2,002 messages" in result.stderr
    assert facade.calls == []


def test_graph_of_a_job_says_how_its_steps_stand(facade, call):
    """With a job, each line ends with how many are done."""
    facade.found = [make_job(State.PROCESSING)]
    facade.ran = [
        StepStatus("s", "0", "orders.survey", StepState.SUCCEEDED),
        *(StepStatus("s", str(n), "orders.clean", StepState.SUCCEEDED) for n in range(1, 501)),
        StepStatus("s", "501", "orders.clean", StepState.FAILED),
        StepStatus("s", "2001", "orders.publish", StepState.WAITING),
    ]

    lines = call("graph", JOB[:8]).stdout.partition("\n\n")[0].splitlines()

    assert [line.split("  ")[-1].strip() for line in lines] == [
        "succeeded", "500 of 2,000 done, 1 failed", "waiting",
    ]  # fmt: skip


def test_graph_says_that_it_is_neither_when_no_job_and_no_kind(call):
    """Both lists are named; with parameters only a kind can be meant."""
    result = call("graph", "ordrs")
    assert result.exit_code == 4 and "no kind is called 'ordrs', and no job's id" in result.stderr
    result = call("graph", "ordrs", "-p", "source=a")
    assert result.exit_code == 2 and "did you mean 'orders'" in result.stderr


def test_graph_is_mermaid_or_svg_or_json_when_asked(facade, call):
    """The forms for documents, for a browser, and for programs."""
    mermaid = call("graph", "orders", "-p", "source=a", "--as", "mermaid").stdout
    assert mermaid.startswith("flowchart LR") and '[["clean ×2,000"]]' in mermaid and '(("all"))' in mermaid

    picture = ElementTree.fromstring(call("graph", "orders", "-p", "source=a", "--as", "svg").stdout)  # noqa: S314  our own
    assert picture.tag.endswith("svg") and "2,000" in "".join(picture.itertext())

    document = json.loads(call("graph", "orders", "-p", "source=a", "-o", "json").stdout)
    assert [row["steps"] for row in document["nodes"] if row["kind"] == "step"] == [1, 2000, 1]
    assert document["queues"][0]["workers"] == ["w1@a"]
