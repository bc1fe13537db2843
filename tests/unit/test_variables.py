"""Environment variables that nothing reads."""

from __future__ import annotations

import re

import pytest

from coordinator.variables import KNOWN, strangers
from tests.unit.test_states import LUA

PACKAGE = LUA.parents[1]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("COORDINATOR_REDIS_UR", "did you mean REDIS_URL?"),
        ("COORDINATOR_LEASE", "did you mean COORDINATOR_LEASE_S?"),
        ("COORDINATOR_API_TOKEN", "did you mean COORDINATOR_API_TOKENS?"),
        ("COORDINATOR_ZZYX", "docs/reference/settings.md lists"),
    ],
)
def test_variable_is_told_of_when_nothing_reads_it(name, meant):
    """The nearest one that there is stands beside it; what is set rightly, or is others', is silent."""
    (told,) = strangers({name: "secret", "COORDINATOR_JOBS": "tasks", "HOME": "/"})
    assert told.startswith(f"{name} is set, but nothing reads it; ") and meant in told
    assert "secret" not in told


def test_variables_are_all_known_when_the_package_reads_them():
    """A variable that is added must be added to the list, too."""
    texts = [path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "variables.py"]
    assert set(re.findall(r'"(COORDINATOR_[A-Z_]+[A-Z])"', "\n".join(texts))) == KNOWN
