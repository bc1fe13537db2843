"""Every error as a problem document (RFC 9457). Owns which error is which status.

Invariant: an answer that is not a success is ``application/problem+json`` with
type, title, status and detail; a fault of ours says nothing of its inside.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from flask import Response
from pydantic import BaseModel, ConfigDict, Field
from redis.exceptions import RedisError
from werkzeug.exceptions import HTTPException

from coordinator import errors

PROBLEM_TYPE = "application/problem+json"
_AGAIN = {"Retry-After": "2"}

logger = logging.getLogger(__name__)


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"additionalProperties": True})

    type: str = Field(description="urn:batuta:problem:… or about:blank, which says no more than the status")
    title: str
    status: int
    detail: str
    errors: list[str] | None = Field(None, description="the single faults, where there are several")


class ApiProblem(Exception):
    """An answer that is not a success, raised from wherever it is found out."""

    def __init__(
        self,
        status: int,
        word: str,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.word, self.detail = status, word, detail
        self.headers = headers or {}
        self.members = members

    def response(self) -> Response:
        kind = f"urn:batuta:problem:{self.word}" if self.word else "about:blank"
        title = self.word.replace("-", " ") if self.word else _PHRASES.get(self.status, "Error")
        members = {name: value for name, value in self.members.items() if value}
        document = {"type": kind, "title": title, "status": self.status, "detail": self.detail, **members}
        return Response(json.dumps(document), self.status, self.headers, content_type=PROBLEM_TYPE)


def problem_of(error: Exception) -> ApiProblem:
    """Return the problem that an error is for whoever asked."""
    if isinstance(error, ApiProblem):
        return error
    if isinstance(error, HTTPException):
        kept = {name: text for name, text in error.get_headers() if name in ("Allow", "Location")}
        nowhere = "no such path; GET /openapi.json lists those that exist"
        words = nowhere if error.code == 404 else error.description or error.name
        return ApiProblem(error.code or 500, "", words, headers=kept)
    for kind, (status, word) in _STATUSES.items():
        if isinstance(error, kind):
            headers = _AGAIN if status == 503 else {}
            members = {name: error.facts.get(name) for name in ("job", "state", "errors")}
            return ApiProblem(status, word, str(error), headers=headers, **members)
    if isinstance(error, RedisError):
        return ApiProblem(503, "unreachable", "Redis can't be used", headers=_AGAIN)
    logger.error("request-failed", exc_info=error)
    return ApiProblem(500, "", "the server met a fault of its own; its log says more")


def answer_for(error: Exception) -> Response:
    """Return the response for any error: for Flask's ``errorhandler``."""
    return problem_of(error).response()


# The first that fits decides, so the narrower stand before the wider.
_STATUSES: dict[type[errors.BatutaError], tuple[int, str]] = {
    errors.UnknownKind: (422, "unknown-kind"),
    errors.InvalidParams: (422, "invalid-params"),
    errors.KeyTaken: (409, "key-taken"),
    errors.InvalidRequest: (422, "invalid-request"),
    errors.JobNotFound: (404, "job-not-found"),
    errors.IllegalTransition: (409, "illegal-transition"),
    errors.JobRejected: (409, "job-rejected"),
    errors.JobFailed: (409, "job-failed"),
    errors.JobCancelled: (409, "job-cancelled"),
    errors.WaitTimeout: (409, "job-not-ended"),
    errors.Unreachable: (503, "unreachable"),
}
_PHRASES = {
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
}
