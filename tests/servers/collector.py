"""An OTLP collector in this process: keeps the spans that it is sent."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Span:
    """One span, as a test looks at it."""

    id: str
    parent: str
    trace: str
    name: str
    attributes: dict[str, Any]
    service: str


class Collector:
    """Takes OTLP over HTTP on a port of its own; a context manager."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
        self._server.spans = []  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def spans(self) -> list[Span]:
        return list(self._server.spans)  # type: ignore[attr-defined]

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"  # a connection a request: none is left open

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            self.server.spans += _spans(ExportTraceServiceRequest.FromString(body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def _spans(request: ExportTraceServiceRequest) -> list[Span]:
    return [
        Span(
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.trace_id.hex(),
            span.name,
            _attributes(span.attributes),
            _attributes(resource.resource.attributes)["service.name"],
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
