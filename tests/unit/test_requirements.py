"""What the code imports is what requirements.txt installs, within bounds."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
OWN = {"coordinator", "tasks", "celeryconfig"}
# Parts of a package that is listed, which pins them itself.
PARTS = {"billiard": "celery", "vine": "celery", "werkzeug": "flask", "tornado": "flower"}


def requirements(name: str) -> list[Requirement]:
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("-r")]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_requirements_name_every_package_that_the_code_imports() -> None:
    """A package that only another package brings is not leant on."""
    listed = {
        re.sub("[-_.]+", "-", requirement.name).lower() for requirement in requirements("requirements.txt")
    }
    owners = packages_distributions()
    missing = {}
    for path in [*(ROOT / "coordinator").rglob("*.py"), *(ROOT / "tasks").rglob("*.py"), ROOT / "manage.py"]:
        for name in imported(path) - set(sys.stdlib_module_names) - OWN:
            distributions = {re.sub("[-_.]+", "-", owner).lower() for owner in owners.get(name, [name])}
            distributions.add(PARTS.get(name, name))
            if not distributions & listed:
                missing[name] = str(path.relative_to(ROOT))
    assert not missing


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_have_a_lower_and_an_upper_bound(name: str) -> None:
    """No new major version comes in by itself."""
    loose = [
        str(requirement)
        for requirement in requirements(name)
        if {"<", ">="} - {specifier.operator for specifier in requirement.specifier}
    ]
    assert not loose


def test_wheel_needs_what_requirements_name_when_all_its_extras_are_taken() -> None:
    """Nobody who installs the wheel gets another version than this repository was tested with."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    named = [*project["dependencies"], *(line for name in extras if name != "all" for line in extras[name])]
    assert sorted(str(Requirement(line)) for line in named) == sorted(
        map(str, requirements("requirements.txt"))
    )
    assert extras["all"] == [f"batuta[{','.join(name for name in extras if name != 'all')}]"]
