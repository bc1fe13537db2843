"""The endpoints of jobs: submit, look, steer.

Thin: each calls the façade and says its answer. Invariant: a submit is
idempotent under its key, and whatever is accepted was recorded.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from flask import Response, request, url_for

from coordinator.state.overview import Cursor
from coordinator.states import JobStatus, Receipt, State, new_job_id
from coordinator.validation import job_id_for
from coordinator.web import models
from coordinator.web.operations import JSON_TYPE, RESERVED, Answer, Api, Operation
from coordinator.web.problems import ApiProblem
from coordinator.web.streams import EVENT_STREAM, stream_events

KEY_HEADER = "Idempotency-Key"


def submit_job(api: Api, body: models.JobRequest) -> Answer:
    """Submit a job."""
    job = _checked_id(body)
    if body.queue not in (None, api.coordinator.settings.queue, *api.settings.queues):
        raise ApiProblem(422, "unknown-queue", f"the queue {body.queue!r} is not in COORDINATOR_API_QUEUES")
    receipt = api.coordinator.submit(
        body.kind,
        body.params,
        key=job,
        queue=body.queue,
        priority=body.priority,
        deadline_s=body.deadline_s,
    )
    if receipt.status == "duplicate":
        status = api.coordinator.status(receipt.id)
        if status.state == State.REJECTED:  # the same request gets the same answer
            receipt = Receipt(receipt.id, "rejected", tuple(f.reason for f in status.flags if not f.valid))
    if receipt.status == "rejected":
        detail = f"job {receipt.id} was rejected: " + "; ".join(receipt.errors)
        raise ApiProblem(422, "job-rejected", detail, job=receipt.id, errors=list(receipt.errors))
    place = url_for(f"{request.blueprint}.get_job", job=receipt.id)
    accepted = models.Accepted.model_validate({"id": receipt.id, "status": receipt.status})
    return Answer(accepted, 202 if receipt.status == "accepted" else 200, {"Location": place})


def list_jobs(api: Api, query: models.JobsQuery) -> models.JobPage:
    """List jobs, newest first."""
    found = api.coordinator.state_manager.page(
        state=query.state,
        kind=query.kind,
        prefix=query.prefix,
        limit=query.limit,
        cursor=_cursor(query.cursor),
        internal=query.internal,
    )
    return models.JobPage(jobs=found.jobs, next=str(found.next) if found.next else None)


def get_job(api: Api, job: str) -> JobStatus:
    """One job, with its flags and parameters."""
    return api.coordinator.status(job)


def list_steps(api: Api, job: str, query: models.StepsQuery) -> models.StepPage:
    """A job's steps."""
    found = (s for s in api.coordinator.state_manager.steps(job) if query.state in (None, s.state))
    steps = list(islice(found, query.cursor, query.cursor + query.limit + 1))
    is_more = len(steps) > query.limit
    return models.StepPage(steps=steps[: query.limit], next=query.cursor + query.limit if is_more else None)


def get_result(api: Api, job: str, query: models.ResultQuery) -> models.Result:
    """A job's result."""
    if query.wait_s:
        with api.slots.one():
            value = api.coordinator.wait(job, timeout_s=query.wait_s)
    else:
        value = api.coordinator.result(job)
    return models.Result(id=job, result=value)


def get_flags(api: Api, job: str) -> models.Flags:
    """The verdicts of a job's checks."""
    api.coordinator.state_manager.state(job)
    found = api.coordinator.state_manager.get_validation_status(job)
    return models.Flags.model_validate({"verdict": found.verdict, "flags": list(found.flags)})


def list_events(api: Api, job: str, query: models.EventsQuery) -> models.Events | Response:
    """What happened to a job; as it happens where text/event-stream is accepted."""
    if request.accept_mimetypes.best_match((JSON_TYPE, EVENT_STREAM)) == EVENT_STREAM:
        return stream_events(api, job, request.headers.get("Last-Event-ID") or query.after)
    return models.Events(events=api.coordinator.events(job, query.after))


def cancel_job(api: Api, job: str, body: models.CancelRequest) -> JobStatus:
    """Cancel a job: nothing more of it starts; retry takes it up again."""
    return api.coordinator.cancel(job, body.reason)


def pause_job(api: Api, job: str) -> JobStatus:
    """Hold a job: what runs is finished, nothing more starts."""
    return api.coordinator.pause(job)


def resume_job(api: Api, job: str) -> JobStatus:
    """Let a paused job go on."""
    return api.coordinator.resume(job)


def retry_job(api: Api, job: str, body: models.RetryRequest) -> JobStatus:
    """Run a failed or cancelled job again; what is recorded is kept."""
    return api.coordinator.retry(job, from_step=body.from_step)


def _checked_id(body: models.JobRequest) -> str:
    """Return the job's id, made now if no key was given, so that it can be told whatever happens next."""
    header = request.headers.get(KEY_HEADER)
    if header and body.id and header != body.id:
        raise ApiProblem(422, "two-keys", f"expected {KEY_HEADER} and id to be the same, got both")
    key = header or body.id
    job = job_id_for(body.kind, key) if key else new_job_id("job")
    words = job.split("/")
    if {"", ".", ".."}.intersection(words) or (len(words) > 1 and words[-1] in RESERVED):
        raise ApiProblem(
            422,
            "unusable-key",
            f"expected a key that a path can hold, got {job!r}: its parts may not be empty, . or .., "
            f"and its last not one of {', '.join(RESERVED)}",
        )
    return job


def _cursor(text: str) -> Cursor | None:
    try:
        return Cursor.read(text) if text else None
    except ValueError as error:
        raise ApiProblem(422, "invalid-request", f"query.cursor: {error}") from error


def _steer(verb: str, call: Any, body: Any = None) -> Operation:
    return Operation(
        "POST",
        f"/jobs/{{job}}/{verb}",
        call,
        scope="steer",
        body=body,
        answers={200: JobStatus},
        problems=(404, 409),
    )


def _look(path: str, call: Any, answer: Any, **more: Any) -> Operation:
    problems = {"problems": (404,)} if "{job}" in path else {}
    return Operation("GET", path, call, scope="read", answers={200: answer}, **{**problems, **more})


OPERATIONS = (
    Operation(
        "POST",
        "/jobs",
        submit_job,
        scope="submit",
        body=models.JobRequest,
        needs_body=True,
        answers={202: models.Accepted, 200: models.Accepted},
        problems=(409,),
        headers={KEY_HEADER: "the same key makes one job, however often it is submitted"},
        makes_job=True,
    ),
    _look("/jobs", list_jobs, models.JobPage, query=models.JobsQuery),
    _look("/jobs/{job}", get_job, JobStatus),
    _look("/jobs/{job}/steps", list_steps, models.StepPage, query=models.StepsQuery),
    _look("/jobs/{job}/result", get_result, models.Result, query=models.ResultQuery, problems=(404, 409)),
    _look("/jobs/{job}/flags", get_flags, models.Flags),
    _look(
        "/jobs/{job}/events",
        list_events,
        models.Events,
        query=models.EventsQuery,
        media_types=(JSON_TYPE, EVENT_STREAM),
        headers={"Last-Event-ID": "as a browser sends it when it connects again"},
    ),
    _steer("cancel", cancel_job, models.CancelRequest),
    _steer("pause", pause_job),
    _steer("resume", resume_job),
    _steer("retry", retry_job, models.RetryRequest),
)
