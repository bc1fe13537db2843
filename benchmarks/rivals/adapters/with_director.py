"""celery-director: workflows in YAML over Celery, each of its tasks a row in PostgreSQL.

Its own ``end`` task sleeps half a second; the clock here stops when the work's last task is
done, and the next piece of work begins when the workflow is marked as done.
Run as a program it writes the home folder that director wants, or makes its tables.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

TASKS = """
from director import task


@task(name="NOOP")
def noop(*args, **kwargs):
    return 1


@task(name="HOP")
def hop(*args, **kwargs):
    return (args[0] or 0) + 1


@task(name="COUNT")
def count(*args, **kwargs):
    return len(args[0])
"""
LENGTHS, SIZES = (1, 3, 100), (50, 100, 1000, 5000)


def write_home(home: Path) -> None:
    (home / "tasks").mkdir(parents=True, exist_ok=True)
    (home / "tasks" / "noop.py").write_text(TASKS)
    (home / ".env").write_text("")
    lines = [f"bench.CHAIN{n}:\n  tasks: [{', '.join(['HOP'] * n)}]\n" for n in LENGTHS]
    for size in SIZES:
        group = f"    - FAN:\n        type: group\n        tasks: [{', '.join(['NOOP'] * size)}]\n"
        lines.append(f"bench.FAN{size}:\n  tasks:\n{group}    - COUNT\n")
    (home / "workflows.yml").write_text("".join(lines))


class Side:
    def __init__(self) -> None:
        from director._auto import app
        from director.builder import WorkflowBuilder
        from director.models.workflows import Workflow

        self.builder, self.workflow = WorkflowBuilder, Workflow
        app.app_context().push()
        self.ends: list[object] = []

    def run(self, name: str) -> object:
        """Do what director's POST /workflows does; return the last task of the work."""
        row = self.workflow(project="bench", name=name, payload={}, comment=None)
        row.save()
        builder = self.builder(row.id)
        self.ends.append(builder.run())
        return builder.canvas[-2]

    def wait(self, last: object) -> object:
        from celery.result import AsyncResult
        from director.extensions import cel

        result = AsyncResult(last.id, app=cel)
        wait_for_key(result)
        return result.backend.get_result(result.id)

    def chain(self, length: int) -> None:
        assert self.wait(self.run(f"CHAIN{length}")) == length

    def fan(self, size: int) -> None:
        assert self.wait(self.run(f"FAN{size}")) == size

    def submit(self) -> None:
        self.run("CHAIN1")

    def settle(self) -> None:
        for end in self.ends:
            wait_for_key(end)
        self.ends.clear()


def wait_for_key(result: object) -> None:
    key = result.backend.get_key_for_task(result.id)
    while not result.backend.client.exists(key):
        time.sleep(0.001)


def make_tables() -> None:
    from director._auto import app
    from flask_migrate import upgrade

    with app.app_context():
        upgrade()


if __name__ == "__main__":
    make_tables() if "upgrade" in sys.argv else write_home(Path(os.environ["DIRECTOR_HOME"]))
