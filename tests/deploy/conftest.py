"""The floor that needs a Docker engine: skipped with the reason where none answers.

The engine needs the public images, or the stand-ins of ``stand_ins/build.sh`` under their names.
Every project and every volume is the tests' own, and is removed with their module.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordinator.web.tokens import new_token
from tests.deploy.client import Api, write_source
from tests.deploy.images import build_batuta, require_engine, require_images
from tests.deploy.stack import MAIN, Stack, compose_command
from tests.servers import free_port


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker engine that answers, and a Compose."""
    require_engine()
    if compose_command() is None:
        pytest.skip("needs Compose, and none was found: apt-get install docker-compose")


@pytest.fixture(scope="session")
def image(engine: None) -> str:
    """The image of the Dockerfile, built from this checkout."""
    require_images(["rabbitmq:4-management", "redis:7-alpine"])
    return build_batuta()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that every container mounts as /data."""
    folder = tmp_path_factory.mktemp("shared")
    # The containers' user is none of this machine's.
    folder.chmod(0o777)
    return folder


@pytest.fixture(scope="module")
def token() -> tuple[str, str]:
    """A token for the HTTP interface, and its entry in COORDINATOR_API_TOKENS."""
    secret, kept = new_token("tester", ("read", "submit", "steer"))
    return secret, kept.entry


@pytest.fixture(scope="module")
def env(shared: Path, token: tuple[str, str]) -> dict[str, str]:
    """What docker-compose.yml asks for, with ports and passwords of this test's own."""
    passwords = ("RABBITMQ_PASSWORD", "REDIS_PASSWORD", "FLOWER_PASSWORD")
    ports = ("RABBITMQ_MANAGEMENT_PORT", "API_PORT", "FLOWER_PORT")
    return {
        **{name: secrets.token_urlsafe(16) for name in passwords},
        **{name: str(free_port()) for name in ports},
        "COORDINATOR_API_TOKENS": token[1],
        "BATUTA_DATA": str(shared),
    }


@pytest.fixture(scope="module")
def make_stack(image: str, env: dict[str, str]) -> Iterator[Callable[..., Stack]]:
    """Make projects that are taken down with the module; a failed test shows their logs."""
    made: list[Stack] = []

    def make(*files: Path, **more: str) -> Stack:
        stack = Stack(f"batuta-test-{secrets.token_hex(4)}", files or (MAIN,), {**env, **more})
        made.append(stack)
        return stack

    yield make
    for stack in reversed(made):
        print(stack.logs())  # noqa: T201  shown where the test fails
        stack.down()


@pytest.fixture(scope="module")
def api(env: dict[str, str], token: tuple[str, str], shared: Path) -> Api:
    """A client of the stack's HTTP interface, and a source that every container sees."""
    write_source(shared)
    return Api(env, token[0])
