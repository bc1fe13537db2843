"""Killed anywhere, run again: the same output; a disk that takes no more: a clear error."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tasks.process_data.errors import DestinationError
from tests.unit.process_data.conftest import run_whole, tree

SOURCE = "a,b\n" + "".join(f"{number},{number * number}\n" for number in range(60))
RULES: dict[str, Any] = {
    "columns": {"a": {"type": "integer", "max": 50}},
    "summary": {"aggregates": {"n": "COUNT(*)"}},
}


class Killed(BaseException):
    """Stands for a signal: nothing in the code catches it."""


def test_output_is_the_same_when_killed_at_any_rename(
    written: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed before or after each of its renames, then run again, ends with the same files."""
    source = str(written("x.csv", SOURCE))
    run_whole(source, RULES, tmp_path / "whole", partition_bytes=200)
    expected, rename = tree(tmp_path / "whole"), os.replace
    for at in range(200):
        destination = tmp_path / f"killed-{at}"
        count = iter(range(200))

        def killing(*paths: Any, at: int = at, count: Iterator[int] = count) -> None:
            now = next(count)
            if now * 2 == at:
                raise Killed
            rename(*paths)
            if now * 2 + 1 == at:
                raise Killed

        monkeypatch.setattr(os, "replace", killing)
        try:
            run_whole(source, RULES, destination, partition_bytes=200)
        except Killed:
            monkeypatch.setattr(os, "replace", rename)
            run_again(source, destination)
        else:
            return
        assert tree(destination) == expected, f"killed at {at}"
    pytest.fail("expected a run with fewer than 100 renames")


def run_again(source: str, destination: Path) -> None:
    """Go on as a redelivered step does: with the recorded results, or from the start if there are none."""
    if any(destination.glob("parts/*")):
        resume_publish(destination)
    else:
        run_whole(source, RULES, destination, partition_bytes=200)


def resume_publish(destination: Path) -> None:
    from tasks.process_data.publish import publish
    from tasks.process_data.workspace import Workspace, sha256_of

    workspace = Workspace(destination, "job")
    manifest = workspace.path("manifest.json")
    manifest = manifest if manifest.exists() else destination / "manifest.json"
    publish(workspace, {"manifest": {"sha256": sha256_of(manifest)}})


def test_publish_answers_the_same_when_run_twice(written: Callable[..., Path], tmp_path: Path) -> None:
    """A publish that was killed after its last rename finds its own manifest and is content."""
    source = str(written("x.csv", SOURCE))
    run_whole(source, RULES, tmp_path / "out")
    before = tree(tmp_path / "out")
    resume_publish(tmp_path / "out")
    assert tree(tmp_path / "out") == before


@contextmanager
def files_no_larger_than(size_bytes: int) -> Iterator[None]:
    """Let the kernel refuse longer writes, as a full disk or a quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size_bytes", [100, 600, 5000])
def test_destination_is_named_when_the_disk_takes_no_more(
    written: Callable[..., Path], tmp_path: Path, size_bytes: int
) -> None:
    """A write that the kernel refuses names the destination and what to do, and publishes nothing."""
    source = str(written("x.csv", SOURCE))
    with (
        files_no_larger_than(size_bytes),
        pytest.raises(DestinationError, match=r"out: expected to write there, but"),
    ):
        run_whole(source, RULES, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".batuta"]
