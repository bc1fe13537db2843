"""Move the finished output into the destination, the manifest last.

Only renames within one file system: a full disk can't stop it half way, and a
killed publish goes on where it was. A folder with a manifest holds a whole run;
one that holds something else is refused.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import DestinationError
from .merge import REPORT, SUMMARY
from .workspace import LOCK, MANIFEST, PRIVATE, Workspace, sha256_of, told_apart


def publish(workspace: Workspace, merged: dict[str, Any]) -> dict[str, Any]:
    """Publish what ``merge`` prepared. Idempotent.

    Returns:
        the job's result: counts, first reasons, and where the output lies.
    Raises:
        DestinationError: the destination holds another run's output, or can't be written.
    """
    destination = workspace.destination
    with told_apart(destination):
        if not _is_published(workspace, merged["manifest"]["sha256"]):
            _claim(workspace)
            for output in workspace.read_json(MANIFEST)["outputs"]:
                _move(workspace, output)
            workspace.path(MANIFEST).replace(destination / MANIFEST)
            _settle(destination)
        workspace.remove()
        _release(workspace)
    return {
        **{name: value for name, value in merged.items() if name != "manifest"},
        "destination": str(destination),
        "report": str(destination / REPORT),
        "summary": str(destination / SUMMARY),
        "manifest": str(destination / MANIFEST),
    }


def foreign_content(destination: Path) -> str:
    """What a destination holds that no run may write over, or "" if it is free."""
    if not destination.exists():
        return ""
    if not destination.is_dir():
        return "a file"
    names = sorted(each.name for each in destination.iterdir() if each.name != PRIVATE)
    if MANIFEST in names:
        return f"the output of a run with {_rows_of(destination)} rows"
    return f"{len(names)} other files or folders, such as {names[0]}" if names else ""


def _is_published(workspace: Workspace, sha256: str) -> bool:
    """Whether this job's manifest is there already: the step was killed after its last rename."""
    final = workspace.destination / MANIFEST
    if workspace.path(MANIFEST).exists():
        if final.exists():
            raise _held(workspace.destination, "the output of another run")
        return False
    if final.exists() and sha256_of(final) == sha256:
        return True
    raise _held(workspace.destination, "neither this job's manifest nor what it would be made from")


def _claim(workspace: Workspace) -> None:
    """Be the one job that publishes into this destination."""
    lock = workspace.destination / PRIVATE / LOCK
    try:
        with lock.open("x") as file:
            file.write(workspace.job_id)
    except FileExistsError:
        owner = lock.read_text()
        # Empty: killed between making and filling it; no job owns that.
        if owner and owner != workspace.job_id:
            raise _held(workspace.destination, f"output that job {owner} is publishing") from None
        lock.write_text(workspace.job_id)
    _refuse_foreign_output(workspace)


def _refuse_foreign_output(workspace: Workspace) -> None:
    ours = {Path(output["path"]).parts[0] for output in workspace.read_json(MANIFEST)["outputs"]}
    names = sorted({each.name for each in workspace.destination.iterdir()} - {PRIVATE} - ours)
    if names:
        raise _held(workspace.destination, f"other files, such as {names[0]}")


def _move(workspace: Workspace, output: dict[str, Any]) -> None:
    source, target = workspace.path(output["path"]), workspace.destination / output["path"]
    target.parent.mkdir(exist_ok=True)
    if source.exists():
        source.replace(target)
    elif not target.exists() or sha256_of(target) != output["sha256"]:
        raise DestinationError(
            f"{target}: expected this job's output, found none or another; "
            "run the job again from its survey step"
        )


def _settle(folder: Path) -> None:
    """Ask the file system to keep the renames, where it can."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _release(workspace: Workspace) -> None:
    private = workspace.destination / PRIVATE
    lock = private / LOCK
    if lock.exists() and lock.read_text() == workspace.job_id:
        lock.unlink()
    with suppress(OSError):
        private.rmdir()  # Another job may still work there.


def _held(destination: Path, what: str) -> DestinationError:
    return DestinationError(
        f"{destination}: expected a folder for this run alone, found {what}; name another destination"
    )


def _rows_of(destination: Path) -> Any:
    try:
        return json.loads((destination / MANIFEST).read_bytes())["rows"]
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown"
