"""``Operation``: one endpoint, as one value from which both its view and its OpenAPI are made.

Owns the way of a request: who asks → how often → query and body → the answer.
Invariant: what the schema says is what the view does, for both read the same
models. What an endpoint does stands in ``jobs.py`` and ``service.py``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

from flask import Response, request
from pydantic import BaseModel, TypeAdapter, ValidationError

from coordinator.coordinator import Coordinator
from coordinator.web.access import authorise
from coordinator.web.limits import RateLimit, WaitingSlots
from coordinator.web.problems import ApiProblem, problem_of
from coordinator.web.settings import WebSettings

JSON_TYPE = "application/json"
#: A job's id, as ``validation.job_id_for`` makes them. It may hold slashes: 2026-11-24/orders.
JOB_ID = r"[A-Za-z0-9._/@+=-]{1,128}"
#: Last words of paths: the job 2026/steps can't be told from the steps of 2026, so no job is called so here.
RESERVED = ("steps", "result", "flags", "events", "cancel", "pause", "resume", "retry")


@dataclass
class Api:
    """What the endpoints work with."""

    coordinator: Coordinator
    settings: WebSettings
    looking: threading.Lock = field(default_factory=threading.Lock)  # held by who looks at the broker
    broker_seen: tuple[float, str] = (0.0, "")  # when the broker was looked at (monotonic), and how it was

    @cached_property
    def rate(self) -> RateLimit:
        return RateLimit(self.coordinator.state_manager, self.settings.rate_per_minute)

    @cached_property
    def slots(self) -> WaitingSlots:
        return WaitingSlots(self.settings.most_waiting)


class NoQuery(BaseModel, extra="forbid"):
    """An endpoint without a query."""


@dataclass(frozen=True)
class Answer:
    """A success that is not plainly 200."""

    value: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """One endpoint."""

    method: str
    path: str  # with {job} for a job's id
    call: Callable[..., Any]  # (api, query, body, job) by name, as far as it asks for them
    scope: str = ""  # read, submit or steer; empty: whoever asks
    query: type[BaseModel] = NoQuery
    body: type[BaseModel] | None = None
    needs_body: bool = False  # otherwise nothing at all stands for an empty object
    answers: dict[int, Any] = field(default_factory=dict)  # status -> type of the JSON value
    problems: tuple[int, ...] = ()  # beside those that any endpoint may answer
    media_types: tuple[str, ...] = (JSON_TYPE,)
    headers: dict[str, str] = field(default_factory=dict)  # request header -> what it says
    makes_job: bool = False  # the answer's id is that of a job

    @property
    def name(self) -> str:
        return self.call.__name__

    @property
    def summary(self) -> str:
        return (self.call.__doc__ or "").rstrip(".")

    @property
    def rule(self) -> str:
        """The path as Flask writes it; an id at its end may not end with a reserved word."""
        is_last = self.path.endswith("{job}")
        return self.path.replace("{job}", "<batuta_job_alone:job>" if is_last else "<batuta_job:job>")

    @cached_property
    def _adapters(self) -> dict[int, TypeAdapter[Any]]:
        return {status: TypeAdapter(kind) for status, kind in self.answers.items()}

    def view(self, api: Api) -> Callable[..., Response]:
        """Return the Flask view: every error becomes a problem, mounted or not."""

        def view(**path: str) -> Response:
            try:
                response = self._respond(api, path)
            except Exception as error:
                response = problem_of(error).response()
            response.headers["Cache-Control"] = "no-store"
            response.headers["X-Content-Type-Options"] = "nosniff"
            return response

        return view

    def _respond(self, api: Api, path: dict[str, str]) -> Response:
        request.max_content_length = api.settings.body_limit_bytes
        if self.scope:
            api.rate.take(authorise(api.settings, self.scope))
        arguments: dict[str, Any] = dict(path)
        query = self._query()
        if self.query is not NoQuery:
            arguments["query"] = query
        if self.body is not None:
            arguments["body"] = validated(self.body, _json_body(is_needed=self.needs_body), "body")
        value = self.call(api, **arguments)
        if isinstance(value, Response):
            return value
        answer = value if isinstance(value, Answer) else Answer(value)
        document = self._adapters[answer.status].dump_python(answer.value, mode="python", by_alias=True)
        return Response(_dumps(document), answer.status, answer.headers, content_type=JSON_TYPE)

    def _query(self) -> BaseModel:
        return validated(self.query, request.args.to_dict(), "query")


def validated(model: type[BaseModel], document: Any, where: str) -> BaseModel:
    """Return the document as its model, or raise a problem (422) that names each fault."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        faults = [
            f"{'.'.join([where, *map(str, fault['loc'])])}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_context=False)
        ]
        raise ApiProblem(422, "invalid-request", "; ".join(faults), errors=faults) from error


def _json_body(*, is_needed: bool) -> Any:
    raw = request.get_data(cache=False)
    if not raw and not is_needed:
        return {}
    if request.mimetype != JSON_TYPE:
        raise ApiProblem(415, "", f"expected {JSON_TYPE}, got {request.mimetype or 'no content type'!r}")
    try:
        value = json.loads(raw.decode(), parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair can't be told on
    except (ValueError, RecursionError) as error:
        raise ApiProblem(400, "not-json", f"expected JSON in UTF-8: {error}") from error
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _dumps(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:  # a step may return NaN, which JSON does not know
        return json.dumps(_without_nan(value), allow_nan=False)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and value - value != 0 else value
