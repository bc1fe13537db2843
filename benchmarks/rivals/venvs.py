"""A virtual environment for each rival, made on first use: no rival is ever among our requirements."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.rivals.sides import Side


class NotInstalled(Exception):
    """A rival's packages do not install here; the message is the end of what pip says."""


def folder() -> Path:
    """Where the environments are: ``BENCH_VENVS``, or the user's cache."""
    return Path(os.environ.get("BENCH_VENVS", Path.home() / ".cache" / "batuta" / "rivals"))


def python_of(side: Side) -> str:
    """Return the Python of a side's environment, made if it isn't there.

    Raises:
        NotInstalled: pip refused.
    """
    if not side.pins:
        return sys.executable
    # Other pins are another environment: none is ever changed.
    mark = hashlib.sha256("\n".join(side.pins).encode()).hexdigest()[:8]
    home = folder() / f"{side.adapter}-{mark}"
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        venv.create(home, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", *side.pins]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise NotInstalled(f"{side.name}: {done.stderr.strip()[-600:]}")
        (home / "complete").touch()
    return str(python)


@functools.cache
def versions_of(python: str) -> dict[str, str]:
    """Return what is installed beside an environment's Python."""
    done = subprocess.run(
        [python, "-m", "pip", "list", "--format", "freeze", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split("==", 1) for line in done.stdout.splitlines() if "==" in line)
