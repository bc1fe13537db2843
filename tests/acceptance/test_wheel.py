"""The wheel: built once, installed into a clean environment, used far from the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 180
#: Folders of the checkout, and what they are called in the wheel.
PACKAGES = {"coordinator": "coordinator", "tasks": "batuta_tasks", "data": "batuta_tasks/data"}


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheel in it, and what the wheel needs from the tests' own."""

    python: Path
    wheel: Path

    def __call__(self, folder: Path, *words: str, ok: bool = True) -> str:
        """Run ``batuta …`` in ``folder`` and return what it printed."""
        return run([str(self.python.with_name("batuta")), *words], folder, ok=ok)


def run(command: list[str], folder: Path, *, ok: bool = True) -> str:
    outside = ("BROKER_URL", "REDIS_URL", "PYTHONPATH", "COORDINATOR_JOBS", "COORDINATOR_HOME")
    env = {name: value for name, value in os.environ.items() if name not in outside}
    done = subprocess.run(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert not ok or done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def batuta(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel of a copy of the checkout, installed without the checkout in sight."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, source)
    # From the sdist, as pip does where it finds no wheel: what the sdist lacks, the wheel would lack.
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)], folder)
    wheel = next(folder.glob("*.whl"))

    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    site = Path(
        run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip()
    )
    (site / "needs.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)], folder)
    return Installed(python, wheel)


def test_wheel_brings_two_packages_and_no_tasks(batuta: Installed) -> None:
    """Nothing in site-packages can meet a project's own ``tasks`` or ``data``."""
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(batuta.wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"coordinator", "batuta_tasks"}


def test_wheel_holds_every_file_of_the_packages(batuta: Installed) -> None:
    """Scripts, templates, styles and the data set come along."""
    names = set(zipfile.ZipFile(batuta.wheel).namelist())
    wanted = {
        str(Path(package) / path.relative_to(ROOT / folder))
        for folder, package in PACKAGES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert not wanted - names


def test_wheel_gives_the_program_the_backend_and_the_shipped_job(batuta: Installed, tmp_path: Path) -> None:
    """``batuta`` answers anywhere, and Celery finds the journal by its entry point."""
    assert "Durable jobs on Celery" in batuta(tmp_path, "--help")
    assert [kind["kind"] for kind in json.loads(batuta(tmp_path, "kinds", "-o", "json"))] == ["process_data"]
    code = (
        "import celery.app.backends, coordinator; from pathlib import Path; "
        "print(celery.app.backends.by_name('batuta').__name__, Path(coordinator.__file__).parents[1])"
    )
    name, folder = run([str(batuta.python), "-c", code], tmp_path).split()
    assert name == "JournalBackend"
    assert Path(folder).is_relative_to(batuta.python.parents[1])


def test_wheel_traces_when_the_extra_is_there_and_works_when_it_is_not(
    batuta: Installed, tmp_path: Path
) -> None:
    """The extra ``otel`` has what tracing imports; without it the same variables change nothing."""
    made = "import coordinator.app; from coordinator import tracing; print(tracing.is_on())"
    hidden = "import sys; sys.modules['opentelemetry'] = None; "
    env = ["env", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318", str(batuta.python), "-c"]
    assert run([*env, made], tmp_path).strip() == "True"
    assert run([*env, hidden + made], tmp_path).strip() == "False"
    needed = "from importlib.metadata import requires; print(*requires('batuta'), sep='\\n')"
    lines = map(Requirement, run([str(batuta.python), "-c", needed], tmp_path).splitlines())
    assert {line.name for line in lines if line.marker and line.marker.evaluate({"extra": "otel"})} >= {
        "opentelemetry-instrumentation-celery",
        "opentelemetry-sdk",
        "opentelemetry-exporter-otlp-proto-http",
    }


def test_demo_of_the_wheel_reports_when_the_folder_has_tasks_of_its_own(
    batuta: Installed, tmp_path: Path
) -> None:
    """The demonstration works in the middle of a Celery project, whose kinds stay those of its ``tasks``."""
    (tmp_path / "tasks.py").write_text(
        "from celery import chain\n"
        "from pydantic import BaseModel\n"
        "from coordinator import job\n"
        "from coordinator.app import app\n\n"
        "class Nothing(BaseModel):\n    pass\n\n"
        "@app.task\ndef ok():\n    return 'ok'\n\n"
        "@job('mine', params=Nothing)\ndef mine(_):\n    return chain(ok.si())\n"
    )
    assert [kind["kind"] for kind in json.loads(batuta(tmp_path, "kinds", "-o", "json"))] == ["mine"]
    result = json.loads(batuta(tmp_path, "demo", "-o", "json"))
    assert result["rows"] == 10_000 and Path(result["report"]).stat().st_size > 1000
    assert batuta(tmp_path, "run", "mine").strip() == '"ok"'


def test_program_of_the_wheel_reads_the_celeryconfig_of_its_folder(batuta: Installed, tmp_path: Path) -> None:
    """What the worker is told of TLS, routes and limits, whoever submits is told too."""
    (tmp_path / "celeryconfig.py").write_text("from pathlib import Path\n\nPath('read').touch()\n")
    batuta(tmp_path, "kinds")
    assert (tmp_path / "read").exists()
