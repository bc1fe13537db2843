"""A channel's other end in this process: takes what is posted."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "hush-9f8e7d"


class Receiver(ThreadingHTTPServer):
    """Takes what is posted, or refuses it for as long as it is told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: list[dict[str, Any]] = []
        self.refused = 0
        self.is_down = False
        self.may_answer = threading.Event()
        self.may_answer.set()

    @property
    def url(self) -> str:
        return f"json://user:{SECRET}@127.0.0.1:{self.server_port}/{SECRET}"

    def titles(self) -> list[str]:
        return [post["title"] for post in self.taken]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        post = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.is_down:
            self.server.refused += 1
        else:
            self.server.taken.append(post)
        self.server.may_answer.wait(20)
        self.send_response(503 if self.server.is_down else 200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
