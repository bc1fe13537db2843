"""Every command and code block of the README and the tutorial, run in the order of the page."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.acceptance.pages import Reader, blocks_of
from tests.conftest import Services
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
#: At most so many blocks of both pages may stand without being run.
NOT_RUN = 3


@pytest.fixture
def reader(services: Services, tmp_path: Path) -> Iterator[Callable[[dict[str, str]], Reader]]:
    """Make a reader in an empty folder, who has the servers that the pages' addresses stand for."""
    outside = {name: value for name, value in os.environ.items() if name not in ("BROKER_URL", "REDIS_URL")}
    tuned = {name: value for name, value in services.env.items() if name not in ("BROKER_URL", "REDIS_URL")}
    readers: list[Reader] = []

    def make(instead: dict[str, str]) -> Reader:
        env = {**outside, **tuned, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable}
        readers.append(Reader.in_folder(tmp_path, env, {"5555": str(free_port()), **instead}))
        return readers[-1]

    yield make
    for reader in readers:
        reader.shell.close()


@pytest.mark.brokers("rabbitmq")
def test_tutorial_works_when_it_is_followed(
    reader: Callable[[dict[str, str]], Reader], services: Services
) -> None:
    """A newcomer who types what the tutorial says sees what it says."""
    follow = reader(
        {
            "amqp://guest:guest@127.0.0.1:5672//": services.broker_url,
            "redis://127.0.0.1:6379/0": services.redis_url,
        }
    ).follow
    for block in blocks_of(ROOT / "docs" / "tutorial.md"):
        if block.is_run:
            follow(block)


@pytest.mark.brokers("rabbitmq")
def test_readme_works_when_it_is_followed(
    reader: Callable[[dict[str, str]], Reader], services: Services, tmp_path: Path
) -> None:
    """Whoever types what the README says, in a clone, gets what it says."""
    for name in ("run", "manage.py", "data", "requirements.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    make_environment(tmp_path / ".venv")
    follow = reader(
        {
            "amqp://user:password@rabbit:5672//": services.broker_url,
            "redis://:password@redis:6379/0": services.redis_url,
            "manage.py flower": f"manage.py flower --port {free_port()}",
        }
    ).follow
    for block in blocks_of(ROOT / "README.md"):
        if block.is_run:
            follow(block)


def make_environment(folder: Path) -> None:
    """Make what ``./run demo`` would have made before: this environment, with its mark."""
    folder.mkdir()
    for part in Path(sys.prefix).iterdir():
        if not part.name.startswith(".requirements"):
            (folder / part.name).symlink_to(part)
    requirements = sha256((ROOT / "requirements.txt").read_bytes()).hexdigest()
    (folder / ".requirements-1").write_text(f"{sys.version_info[:2]} {requirements}\n")


def test_pages_give_a_reason_for_the_few_blocks_that_are_not_run() -> None:
    """What is not run is the exception, and says why."""
    blocks = [block for page in ("README.md", "docs/tutorial.md") for block in blocks_of(ROOT / page)]
    silent = [block for block in blocks if not block.is_run]
    assert len(blocks) > 10
    assert len(silent) <= NOT_RUN, [block.place for block in silent]
    assert all(len(block.note) > 20 for block in silent)
