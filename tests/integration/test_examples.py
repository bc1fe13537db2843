"""The examples do what the documents say that they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.errors import JobRejected
from coordinator.states import State, StepState
from examples import count_word, edges, proof_of_work  # noqa: F401  they register their kinds
from examples.edges.picture import Picture, edges_of, shapes
from examples.proof_of_work import zero_bits
from tests.servers.process import ROOT

JOBS = {"COORDINATOR_JOBS": "examples.edges,examples.proof_of_work,examples.count_word"}


def test_tiles_join_to_the_edges_of_the_whole_when_worked_out_apart(coordinator, start_worker, tmp_path):
    """The picture of the tiles is that of the whole image: overlaps leave no seam."""
    start_worker(env=JOBS)
    source, found = tmp_path / "shapes.pgm", tmp_path / "edges.png"
    picture = shapes(200, 150)
    picture.write_pgm(str(source))
    whole = Picture(200, 150, edges_of(picture, (0, 0, 200, 150)))
    whole.write_png(str(tmp_path / "whole.png"))

    receipt = coordinator.submit("edges", {"source": str(source), "destination": str(found), "tile": 64})

    result = coordinator.wait(receipt.id, timeout_s=30)
    assert result == {
        "picture": str(found), "tiles": 12, "edge_pixels": sum(p > 128 for p in whole.pixels),
    }  # fmt: skip
    assert found.read_bytes() == (tmp_path / "whole.png").read_bytes()


def test_job_is_rejected_when_the_source_is_no_picture(coordinator, tmp_path):
    """The builder's own look at its parameters."""
    source = tmp_path / "text.pgm"
    source.write_text("P2 nothing")

    receipt = coordinator.submit("edges", {"source": str(source), "destination": "x.png"})

    assert receipt.status == "rejected" and "binary PGM" in receipt.errors[0]


def test_first_nonce_wins_and_the_other_lanes_are_lost_when_they_race(coordinator, start_worker):
    """The race's example: the nonce will do, and each other lane is recorded as lost."""
    start_worker(env=JOBS)

    job = coordinator.submit("proof_of_work", {"text": "batuta", "zeros": 14, "lanes": 5}).id

    result = coordinator.wait(job, timeout_s=60)
    assert result["zeros"] == zero_bits("batuta", result["nonce"]) >= 14
    states = [step.state for step in coordinator.steps(job) if step.task.endswith("search")]
    assert sorted(states) == [StepState.LOST] * 4 + [StepState.SUCCEEDED]


def test_word_is_counted_page_by_page_when_the_checks_agree(coordinator, start_worker):
    """The README's example, on a text of this repository."""
    start_worker(env=JOBS)
    source = str(ROOT / "LICENSE")
    words = (part.strip(".,;:!?\"'()").casefold() for part in Path(source).read_text().split())

    job = coordinator.submit("count_word", {"source": source, "word": "license"}, key="license-1").id

    assert coordinator.wait(job, timeout_s=30) == sum(word == "license" for word in words) > 10
    assert {flag.valid for flag in coordinator.status(job).flags} == {True}


def test_job_is_rejected_with_the_reason_when_a_check_refuses(coordinator, start_worker):
    """No step of the work is sent for a file that is not there."""
    start_worker(env=JOBS)
    job = coordinator.submit("count_word", {"source": "/no/such/file", "word": "x"}).id

    with pytest.raises(JobRejected, match="No such file"):
        coordinator.wait(job, timeout_s=20)
    assert coordinator.status(job).state == State.REJECTED
