"""The endpoints that are about the service: kinds, alerts, health, metrics, schema."""

from __future__ import annotations

import time
from typing import Any

from celery import Celery
from flask import Response, request, url_for
from prometheus_client import exposition
from redis.exceptions import RedisError

from coordinator.errors import StateUnreachable
from coordinator.metrics import make_registry
from coordinator.queues import hurry
from coordinator.web import jobs, models
from coordinator.web.openapi import document
from coordinator.web.operations import Answer, Api, Operation

#: A look at the broker opens a connection, so one is kept for a while.
BROKER_LOOK_S = 5.0
BROKER_TIMEOUT_S = 1.0


def list_kinds(api: Api) -> models.Kinds:
    """The kinds that can be submitted, with the schema of their parameters."""
    kinds = [api.coordinator.kind(name) for name in api.coordinator.kinds()]
    return models.Kinds(
        kinds=[
            models.KindOfJob(
                name=kind.name, version=kind.version, doc=kind.doc, params=kind.params.model_json_schema()
            )
            for kind in kinds
        ]
    )


def list_alerts(api: Api, query: models.AlertsQuery) -> models.Alerts:
    """Alerts, newest first."""
    found = api.coordinator.alerts(query.limit)
    return models.Alerts.model_validate(
        {"alerts": [alert for alert in found if alert["at_ms"] >= query.since_ms]}
    )


def healthz(_api: Api) -> models.Health:
    """Whether the process answers."""
    return models.Health(status="ok")


def readyz(api: Api) -> Answer:
    """Whether it can work: Redis answers. Without the broker, jobs are taken and wait."""
    try:
        api.coordinator.state_manager.client.ping()
        redis = "ok"
    except (StateUnreachable, RedisError):
        redis = "unreachable"
    is_ready = redis == "ok"
    found = models.Readiness(status="ready" if is_ready else "unready", redis=redis, broker=_broker(api))
    return Answer(found, 200 if is_ready else 503)


def metrics(api: Api) -> Response:
    """Metrics for Prometheus."""
    try:
        encode, content_type = exposition.choose_encoder(request.headers.get("Accept", ""))
    except (TypeError, ValueError):  # a version that is no number
        encode, content_type = exposition.choose_encoder("")
    return Response(encode(make_registry(api.coordinator.state_manager)), content_type=content_type)


def openapi(api: Api) -> Any:
    """This document."""
    home = url_for(f"{request.blueprint}.healthz").removesuffix("/healthz")
    return document((*jobs.OPERATIONS, *OPERATIONS), home or "/", is_open=not api.settings.tokens)


def _broker(api: Api) -> str:
    """Return how the broker is, as it was seen a few seconds ago; one thread looks at a time."""
    if api.looking.acquire(blocking=not api.broker_seen[1]):
        try:
            seen_at, found = api.broker_seen
            if not found or time.monotonic() - seen_at > BROKER_LOOK_S:
                found = _look(api.coordinator.app)
                api.broker_seen = (time.monotonic(), found)
        finally:
            api.looking.release()
    return api.broker_seen[1]


def _look(app: Celery) -> str:
    with app.connection_for_write(connect_timeout=BROKER_TIMEOUT_S) as connection:
        hurry(connection)
        try:
            connection.ensure_connection(max_retries=1, timeout=BROKER_TIMEOUT_S)
        except Exception:  # kombu raises whatever its transport does; the address stays unsaid here
            return "unreachable"
    return "ok"


OPERATIONS = (
    Operation("GET", "/kinds", list_kinds, scope="read", answers={200: models.Kinds}),
    Operation(
        "GET", "/alerts", list_alerts, scope="read", query=models.AlertsQuery, answers={200: models.Alerts}
    ),
    Operation("GET", "/healthz", healthz, answers={200: models.Health}),
    Operation("GET", "/readyz", readyz, answers={200: models.Readiness, 503: models.Readiness}),
    Operation(
        "GET",
        "/metrics",
        metrics,
        scope="read",
        answers={200: str},
        media_types=("text/plain", "application/openmetrics-text"),
    ),
    Operation("GET", "/openapi.json", openapi, answers={200: dict[str, Any]}),
)
