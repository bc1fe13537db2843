"""The OpenAPI 3.1 document, made from the operations and their models. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, TypeAdapter

from coordinator import __version__
from coordinator.web.operations import JOB_ID, JSON_TYPE, Operation
from coordinator.web.problems import PROBLEM_TYPE, Problem
from coordinator.web.tokens import SCOPES

REF = "#/components/schemas/{model}"
DESCRIPTION = (
    "Durable jobs on Celery. A job's id may hold slashes; in a path they may stand as they are or as %2F. "
    "Errors are problem documents (RFC 9457)."
)
#: What each problem means, where it means the same everywhere.
PROBLEMS = {
    400: "the body is not JSON",
    401: "no token, or one that is not known",
    403: "the token has not the scope",
    404: "no job has that id",
    405: "another method is expected",
    409: "the job's present state, or the key's present job, does not allow that",
    413: "the body is too large",
    415: "the body is not said to be JSON",
    422: "the request does not fit, or the job was rejected",
    429: "too many requests of this token, or too many that wait",
    500: "a fault of the server's own",
    503: "Redis or the broker can't be reached",
}


def document(operations: Iterable[Operation], home: str, *, is_open: bool) -> dict[str, Any]:
    """Return the document.

    Args:
        operations: the endpoints.
        home: where they are, as a path.
        is_open: whether no token is asked for.
    """
    operations = tuple(operations)
    schemas, refs = _schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        found = paths.setdefault(operation.path, {})
        found[operation.method.lower()] = _operation(operation, refs, is_open=is_open)
        if operation.makes_job:
            for status in operation.answers:
                found[operation.method.lower()]["responses"][str(status)]["links"] = _links(operations)
    bearer = {"type": "http", "scheme": "bearer", "description": f"scopes: {', '.join(SCOPES)}"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Batuta",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": home}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            **({} if is_open else {"securitySchemes": {"bearer": bearer}}),
        },
    }


def problems_of(operation: Operation) -> list[int]:
    """Return the statuses of the problems that an endpoint may answer."""
    found = {*operation.problems, 422, 500}
    if operation.scope:
        found |= {401, 403, 429, 503}
    if operation.body is not None:
        found |= {400, 413, 415}
    return sorted(found - set(operation.answers))


def _schemas(operations: tuple[Operation, ...]) -> tuple[dict[str, Any], dict[Any, Any]]:
    """Return every model's schema by name, and for each (type, mode) how to refer to it."""
    types: dict[tuple[Any, str], TypeAdapter[Any]] = {(Problem, "serialization"): TypeAdapter(Problem)}
    for operation in operations:
        for answer in operation.answers.values():
            types[answer, "serialization"] = TypeAdapter(answer)
        if operation.body is not None:
            types[operation.body, "validation"] = TypeAdapter(operation.body)
    made, defs = TypeAdapter.json_schemas(
        [(kind, mode, adapter) for (kind, mode), adapter in types.items()],  # type: ignore[misc]
        ref_template=REF,
    )
    return defs.get("$defs", {}), {key[0]: schema for key, schema in made.items()}


def _operation(operation: Operation, refs: dict[Any, Any], *, is_open: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [
            *_path_parameters(operation),
            *_query_parameters(operation.query),
            *_headers(operation),
        ],
        "responses": {
            **{str(status): _answer(operation, status, refs) for status in operation.answers},
            **{str(status): _problem(status, refs) for status in problems_of(operation)},
        },
    }
    if operation.scope:
        found["description"] = f"Needs the scope {operation.scope}."
        if not is_open:
            found["security"] = [{"bearer": []}]
    if operation.body is not None:
        content = {JSON_TYPE: {"schema": refs[operation.body]}}
        found["requestBody"] = {"content": content, "required": operation.needs_body}
    return found


def _links(operations: tuple[Operation, ...]) -> dict[str, Any]:
    """Return where a job that was made is found: under the answer's id, which need not be the request's."""
    return {
        operation.name: {"operationId": operation.name, "parameters": {"job": "$response.body#/id"}}
        for operation in operations
        if "{job}" in operation.path
    }


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    if "{job}" not in operation.path:
        return []
    schema = {"type": "string", "pattern": f"^{JOB_ID}$"}
    return [{"name": "job", "in": "path", "required": True, "description": "a job's id", "schema": schema}]


def _query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema(ref_template=REF)
    definitions = schema.get("$defs", {})
    parameters = []
    for name, found in schema.get("properties", {}).items():
        text = _inlined(found, definitions)
        description = {"description": text.pop("description")} if "description" in text else {}
        parameters.append({"name": name, "in": "query", **description, "schema": text})
    return parameters


def _headers(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "description": says, "schema": {"type": "string"}}
        for name, says in operation.headers.items()
    ]


def _inlined(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return a parameter's schema without references, and without the null that no query can hold."""
    if "$ref" in schema:
        schema = {**definitions[schema["$ref"].rpartition("/")[2]], **schema}
    choices = [part for part in schema.get("anyOf", []) if part.get("type") != "null"]
    if len(choices) == 1:
        schema = {**schema, **_inlined(choices[0], definitions)}
    dropped = ("$ref", "anyOf", "title") + (("default",) if schema.get("default", "") is None else ())
    return {name: value for name, value in schema.items() if name not in dropped}


def _answer(operation: Operation, status: int, refs: dict[Any, Any]) -> dict[str, Any]:
    schema = refs[operation.answers[status]]
    content = {
        media_type: {"schema": schema if media_type == JSON_TYPE else {"type": "string"}}
        for media_type in operation.media_types
    }
    found: dict[str, Any] = {"description": "as asked", "content": content}
    if status == 202:
        location = {"description": "where the job is", "schema": {"type": "string"}}
        found = {**found, "description": "recorded; it will be run", "headers": {"Location": location}}
    return found


def _problem(status: int, refs: dict[Any, Any]) -> dict[str, Any]:
    return {"description": PROBLEMS[status], "content": {PROBLEM_TYPE: {"schema": refs[Problem]}}}
