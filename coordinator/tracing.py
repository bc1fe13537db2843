"""Traces: one for each job, across hosts, by OpenTelemetry's own instrumentation of Celery.

Owns what the instrumentation can't know: to which trace a step belongs. Invariant: a step that a step
of its job sends hangs under that step; any other (redriven, retried, fired by a timer) under the job's
submit, whose context is kept with the job; never under whatever else its sender does. A job that was
submitted without traces has one all the same, made of its id. Where nobody instruments Celery, nothing
of it is imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from celery import Celery, current_task, signals

from coordinator.dispatcher import HEADER, TaskDispatcher
from coordinator.state import StateManager

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider

INSTRUMENTATION = "opentelemetry.instrumentation.celery"
#: The field of a job that keeps its context, as a message's headers would.
FIELD = "trace"
#: Any of these says where traces go.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER")
#: OpenTelemetry's names of protocols, and of what exports by them.
EXPORTERS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}

# In OpenTelemetry's context: the job whose submit this is, and the span that sends.
_SUBMITTED = "batuta-submitted"
_SENDING = "batuta-sending"

_starting = threading.Lock()

logger = logging.getLogger(__name__)


def is_configured(env: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment says where traces go."""
    is_off = env.get("OTEL_SDK_DISABLED", "").lower() == "true" or env.get("OTEL_TRACES_EXPORTER") == "none"
    return not is_off and any(env.get(name) for name in ENDPOINTS)


def is_on() -> bool:
    """Whether somebody instruments Celery in this process."""
    module: Any = sys.modules.get(INSTRUMENTATION)
    return module is not None and module.CeleryInstrumentor().is_instrumented_by_opentelemetry is True


def install() -> None:
    """Instrument Celery where the environment says where traces go, and add what it can't know."""
    if not is_on():
        if not is_configured():
            return
        try:
            from opentelemetry.instrumentation.celery import CeleryInstrumentor
        except ImportError:  # the doctor tells
            return
        signals.task_prerun.connect(_start, weak=False)  # before the instrumentation makes a span
        CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]
        signals.worker_process_shutdown.connect(_flush, weak=False)
    signals.task_prerun.connect(_describe, weak=False)
    signals.after_task_publish.connect(_end_publish, weak=False)


@contextlib.contextmanager
def submitting(job: str, kind: str) -> Iterator[dict[str, str]]:
    """Open the span under which a job runs; gives the job's fields that keep its context."""
    if not is_on():
        yield {}
        return
    from opentelemetry import context, propagate, trace

    _start()
    attributes = {"batuta.job": job, "batuta.kind": kind}
    with trace.get_tracer("batuta").start_as_current_span(f"submit/{kind}", attributes=attributes):
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        token = context.attach(context.set_value(_SUBMITTED, job))
        try:
            yield {FIELD: json.dumps(carrier)} if carrier else {}
        finally:
            context.detach(token)


def adopt(headers: dict[str, Any]) -> None:
    """Give a step's message a context where its sender, who does without traces, gave it none."""
    from opentelemetry import propagate, trace

    if not trace.get_current_span(propagate.extract(headers)).get_span_context().is_valid:
        propagate.inject(headers, _context_of(headers[HEADER]["job"], None))


class TracedDispatcher(TaskDispatcher):
    """Sends the steps of a job in the trace of the job, whoever sends."""

    def __init__(self, app: Celery, state: StateManager) -> None:
        super().__init__(app)
        self._state = state

    def send(self, job: str, *args: Any, **kwargs: Any) -> None:
        from opentelemetry import context, trace

        here = context.get_current()
        if job not in (_running_job(), context.get_value(_SUBMITTED)):
            kept = self._state.client.hget(self._state.keys.named(job, "m")[0], FIELD)
            here = _context_of(job, kept)
        token = context.attach(context.set_value(_SENDING, trace.get_current_span(here), here))
        try:
            super().send(job, *args, **kwargs)
        finally:
            context.detach(token)  # and with it whatever a publish that failed has left


def _context_of(job: str, kept: bytes | None) -> Context:
    """Return the context that was kept with a job, or one that is made of its id."""
    from opentelemetry import propagate, trace
    from opentelemetry.context import Context

    if kept is not None:
        return propagate.extract(json.loads(kept), Context())
    digest = hashlib.sha256(job.encode()).digest()
    span = trace.SpanContext(
        int.from_bytes(digest[:16]),
        int.from_bytes(digest[16:24]),
        is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(span), Context())


def _running_job() -> str | None:
    """Return the job of the step that runs in this thread."""
    header = getattr(current_task.request, HEADER, None) if current_task else None
    return header["job"] if header else None


# -- signals ----------------------------------------------------------------


def _start(**_: Any) -> None:
    """Let this process export: only when it first needs to, for a child can't use its parent's exporter."""
    from opentelemetry import trace

    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        with _starting:
            if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
                trace.set_tracer_provider(_make_provider())


def _make_provider() -> TracerProvider:
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = OTELResourceDetector().detect().attributes.get("service.name", "batuta")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    for exporter in _exporters(os.environ):
        try:
            (found,) = entry_points(group="opentelemetry_traces_exporter", name=exporter)
            provider.add_span_processor(BatchSpanProcessor(found.load()()))
        except Exception as error:  # whatever an exporter raises: jobs run without traces
            logger.error("traces-not-exported: %s can't be used: %r", exporter, error)
    return provider


def _exporters(env: Mapping[str, str]) -> list[str]:
    protocol = env.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or env.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    names = (env.get("OTEL_TRACES_EXPORTER") or "otlp").split(",")
    otlp = EXPORTERS.get(protocol or "http/protobuf", str(protocol))
    return [otlp if name.strip() == "otlp" else name.strip() for name in names]


def _flush(**_: Any) -> None:
    """Export what a child still holds: it ends without Python's own end."""
    from opentelemetry import trace

    shutdown = getattr(trace.get_tracer_provider(), "shutdown", None)
    if shutdown is not None:
        shutdown()


def _describe(task: Any, **_: Any) -> None:
    """Say on a step's span of which job it is and who runs it: the instrumentation names the sender."""
    from opentelemetry import trace

    header = getattr(task.request, HEADER, None)
    if header:
        attributes = {"batuta.job": header["job"], "batuta.worker": task.request.hostname}
        trace.get_current_span().set_attributes(attributes)


def _end_publish(**_: Any) -> None:
    """End the span of a publish where the instrumentation doesn't: this process does not know the task."""
    from opentelemetry import context, trace

    sending = context.get_value(_SENDING)
    span = trace.get_current_span()
    if isinstance(sending, trace.Span) and span is not sending:
        span.end()
        context.attach(trace.set_span_in_context(sending))
