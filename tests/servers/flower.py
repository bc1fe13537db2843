"""Flower as people start it, and a browser's habits: cookies, and the token that they hold."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Mapping
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

from tests.servers.process import Process, answers, free_port, python_env, wait_ready

START_TIMEOUT_S = 40


class Flower:
    """``celery -A coordinator.app flower`` on a free port of this machine."""

    def __init__(
        self, env: Mapping[str, str], *options: str, home: Path, app: str = "coordinator.app"
    ) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "celery", "-A", app, "flower", f"--port={self.port}"]
        self.process = Process(
            [*command, "--address=127.0.0.1", *options],
            log=home / f"flower-{self.port}.log",
            env=python_env(env),
        )
        self.url = f"http://127.0.0.1:{self.port}"
        self.cookies = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def start(self) -> Flower:
        self.process.launch()
        wait_ready(self.process, lambda: answers(self.port), what="Flower", timeout_s=START_TIMEOUT_S)
        return self

    def kill(self) -> None:
        self.process.kill()

    def get(self, path: str, **headers: str) -> str:
        """Return a page; ``http.error.HTTPError`` where it is refused."""
        return self._open(path, None, headers)

    def json(self, path: str, **headers: str) -> Any:
        return json.loads(self.get(path, **headers))

    def post(self, path: str, **headers: str) -> Any:
        return json.loads(self._open(path, b"", headers))

    def token(self, **headers: str) -> str:
        """Return the token that a page of Flower gives to its own scripts."""
        self.get("/jobs", **headers)
        return next(cookie.value or "" for cookie in self.cookies if cookie.name == "_xsrf")

    def _open(self, path: str, data: bytes | None, headers: Mapping[str, str]) -> str:
        dashed = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, data=data, headers=dashed)  # noqa: S310
        with self._opener.open(request, timeout=20) as answer:
            return str(answer.read().decode())
