"""A client of the stack's HTTP interface, with a real job to submit: ``process_data`` on many rows.

The containers see the shared folder as /data, the test as a folder of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests

from tests.deploy.stack import ROOT
from tests.waiting import wait_until

JOB_S = 240
#: So many times the 10,000 rows that are shipped, in partitions of less than a second of work.
COPIES, PARTITION_BYTES = 60, 2 * 1024 * 1024
SOURCE = "strikes.csv"


class Api:
    """The stack's HTTP interface, as a client with a token sees it."""

    def __init__(self, env: dict[str, str], token: str) -> None:
        self.url = f"http://127.0.0.1:{env['API_PORT']}"
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str) -> Any:
        answer = self._session.get(self.url + path, timeout=40)
        answer.raise_for_status()
        return answer.json()

    def process(self, name: str) -> str:
        """Submit ``process_data`` on the shared source; its output goes to /data/``name``."""
        params = {
            "source": f"/data/{SOURCE}",
            "rules": "/app/data/birdstrikes.rules.toml",
            "destination": f"/data/{name}",
            "partition_bytes": PARTITION_BYTES,
        }
        request = {"kind": "process_data", "params": params}
        answer = self._session.post(f"{self.url}/jobs", json=request, timeout=40)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def steps(self, job: str, state: str) -> list[dict[str, Any]]:
        return list(self.get(f"/jobs/{job}/steps?state={state}")["steps"])

    def wait(self, job: str) -> None:
        ended = ("succeeded", "failed", "rejected", "cancelled")

        def state() -> str | None:
            found = self.get(f"/jobs/{job}")["state"]
            return found if found in ended else None

        found = wait_until(state, timeout_s=JOB_S, what=f"job {job} to end", pause_s=0.5)
        assert found == "succeeded", self.get(f"/jobs/{job}")


def write_source(shared: Path) -> None:
    """Write the rows that are shipped, many times over."""
    path = shared / SOURCE
    with (ROOT / "data/birdstrikes.csv").open("rb") as rows, path.open("wb") as out:
        out.write(rows.readline())
        body = rows.read()
        for _ in range(COPIES):
            out.write(body)
    path.chmod(0o644)


def outputs(folder: Path) -> dict[str, bytes]:
    """Return every file that a job published, with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
