"""The images that tests with a Docker engine need, and a clear reason to skip where they can't be had."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.deploy.stack import ROOT, CommandFailed, docker

IMAGE = "batuta"
BUILD_TIMEOUT_S = 900


def require_engine() -> None:
    """Skip the test where no Docker engine answers."""
    if shutil.which("docker") is None:
        pytest.skip(
            "needs a Docker engine, and docker was not found: apt-get install docker.io docker-compose"
        )
    answer = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=60)
    if answer.returncode:
        pytest.skip(f"needs a Docker engine, and none answers: {answer.stderr.strip()}")


def require_images(names: Iterable[str]) -> None:
    """Skip the test where an image is neither here nor in a registry that is reached."""
    for name in names:
        if not _is_there(name):
            pytest.skip(f"needs the image {name}, and it can't be had: make stand-ins")


def build(name: str, folder: Path, *options: str) -> None:
    """Build an image; what it installs comes through this machine's own network."""
    words = ("build", "--network", "host", "--tag", name, *options, str(folder))
    docker(*words, timeout_s=BUILD_TIMEOUT_S)


def build_batuta() -> str:
    """Build the image of this checkout's Dockerfile, and return its name."""
    require_images(["python:3.13-slim"])
    build(IMAGE, ROOT)
    return IMAGE


def _is_there(name: str) -> bool:
    try:
        docker("image", "inspect", name)
    except CommandFailed:
        try:
            docker("pull", "--quiet", name)
        except CommandFailed:
            return False
    return True
