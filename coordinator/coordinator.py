"""``Coordinator``: the façade. Thin: it validates, asks the state manager, and lets the outbox send.

Owns the order in which the collaborators are called. Invariant: a job is
recorded before anything of it is sent. Its collaborators are the dispatcher
(RabbitMQ), the state manager (Redis) and the notifier (alerts), each swappable.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from celery import Celery

from coordinator import parts as parts_module
from coordinator import registry
from coordinator.doctor import Finding, findings
from coordinator.errors import (
    AmbiguousId,
    InvalidRequest,
    JobCancelled,
    JobFailed,
    JobNotFound,
    JobRejected,
    WaitTimeout,
)
from coordinator.outbox import FRONTIER
from coordinator.parts import Parts
from coordinator.plan import Plan
from coordinator.registry import Kind
from coordinator.settings import Settings
from coordinator.state import parse_step_id
from coordinator.state.feed import Feed
from coordinator.states import Event, JobStatus, State, StepStatus
from coordinator.stream import MOST_IN_FLIGHT
from coordinator.submission import Submission, left_to_the_reconciler
from coordinator.why import Reason, reasons

DEFAULT_KIND = "process_data"
#: How long a wait goes without a look of its own at the state, should the word that a job ended be lost.
LOOK_S = 2.0


class Coordinator(Submission):
    """Submits jobs, follows them and steers them. Safe to share between threads.

    Connects when first used; any method raises ``BrokerUnreachable`` or ``StateUnreachable`` where it can't.
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.state_manager = parts.state
        self.settings = parts.settings
        self.app = parts.app

    @classmethod
    def from_settings(cls, settings: Settings | None = None, celery_app: Celery | None = None) -> Coordinator:
        """Return a coordinator for the settings given, or for those of the environment.

        Args:
            settings: where the parts are; those that the app was made with if None.
            celery_app: the Celery application that publishes; by default the one that ``install`` was called
                with in this process or in a module of COORDINATOR_JOBS, or else ``coordinator.app:app``.

        Raises:
            SettingsError: the environment can't be used, or a module of COORDINATOR_JOBS can't be imported.
        """
        if celery_app is None and parts_module.installed is None:
            registry.load((settings or Settings.from_env()).jobs)  # one of them may call ``install``
            registry.load_tasks(parts_module.installed)  # where a step goes may be said by its task
        app = celery_app or parts_module.installed or _own_app()
        parts = app.parts if settings in (None, app.parts.settings) else Parts(app, settings)
        registry.load(parts.settings.jobs)
        return cls(parts)

    # -- kinds --------------------------------------------------------------

    def kinds(self) -> list[str]:
        """Return the names of the kinds that are registered here."""
        return registry.kinds()

    def kind(self, name: str) -> Kind:
        """Return one kind: its parameters' model, checks and version; raises ``UnknownKind``."""
        return registry.kind(name)

    def plan_of(self, job: str) -> tuple[Plan, dict[str, Plan]]:
        """Return the plan of a job, and those of the steps that put a canvas in their place, by key."""
        self._state.state(job)
        return self._state.plan(job), self._state.fragments(job)

    # -- submit -------------------------------------------------------------

    def process_request(self, request: Any) -> dict[str, Any]:
        """Take a request: ``{"id": …, "kind": …, "params": …}``; id and kind may be left out.

        Returns:
            ``{"status": "accepted", "message": "Processing started", "id": …}``, or, after an alert,
            ``{"status": "error", "message": "Validation failed", "errors": […], "id": …}``.
        """
        if not isinstance(request, Mapping):
            return _refused([f"expected a JSON object, got {type(request).__name__}"], None)
        unknown = sorted(set(map(str, request)) - {"id", "kind", "params"})
        if unknown:
            return _refused(
                [f"unknown member {name[:80]!r}; expected id, kind and params" for name in unknown],
                request.get("id"),
            )
        try:
            receipt = self.submit(
                str(request.get("kind") or DEFAULT_KIND),
                {} if request.get("params") is None else request["params"],
                key=request.get("id"),
            )
        except InvalidRequest as error:
            self._parts.notifier.send_alert(f"a request was refused: {error}", severity="warning")
            return _refused([str(error)], request.get("id"))
        validated = self._state.get_validation_status(receipt.id)
        if validated.verdict == "invalid":
            return _refused(list(receipt.errors or validated.errors), receipt.id)
        return {"status": "accepted", "message": "Processing started", "id": receipt.id}

    # -- follow -------------------------------------------------------------

    def status(self, job: str) -> JobStatus:
        """Return where a job stands: state, progress, flags, error; raises ``JobNotFound``."""
        return self._state.status(job)

    def jobs(self, state: str | None = None, kind: str | None = None, limit: int = 100) -> list[JobStatus]:
        """Return jobs, newest first, at most ``limit``; flags and parameters are left out."""
        return self._state.jobs(state, kind, limit)

    def steps(self, job: str, *, limit: int | None = None) -> list[StepStatus]:
        """Return a job's steps in the order of its plan, at most ``limit``."""
        found = self._state.steps(job)
        return list(found) if limit is None else [step for step, _ in zip(found, range(limit), strict=False)]

    def events(self, job: str, after: str = "0") -> list[Event]:
        """Return what happened to a job, oldest first, after the event with the id ``after``."""
        self._state.state(job)
        return self._state.events(job, after)

    def feed(self, *, past: bool = False) -> Feed:
        """Return the events of all jobs from now on, or (``past``) from the oldest kept: ``feed.new()``."""
        return Feed(self._state, past=past)

    def alerts(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return the newest alerts first, at most ``limit``."""
        return self._state.alerts(limit)

    def resolve(self, prefix: str) -> str:
        """Return the one job id that starts with ``prefix``.

        Raises:
            JobNotFound, AmbiguousId: listing some of the ids.
        """
        found = self._state.ids(prefix)
        if not found:
            raise JobNotFound(
                f"no job's id starts with {prefix!r}; `list` shows those that exist", job=prefix
            )
        if len(found) > 1:
            shown = ", ".join(found[:5]) + (" …" if len(found) > 5 else "")
            raise AmbiguousId(
                f"several jobs' ids start with {prefix!r}: {shown}; give more of it", job=prefix
            )
        return found[0]

    def result(self, job: str) -> Any:
        """Return a job's result, without waiting.

        Raises:
            JobFailed, JobRejected, JobCancelled, JobNotFound, or WaitTimeout where it has not ended.
        """
        status = self._state.status(job)
        if status.state == State.SUCCEEDED:
            return self._state.result(job)
        if status.state == State.FAILED:
            error = status.error or {}
            message = f"job {job} failed at {error.get('step') or 'its deadline'}: {error.get('message')}"
            raise JobFailed(message, job=job, error=error)
        if status.state == State.REJECTED:
            raise JobRejected(f"job {job} was rejected: {status.reason}", job=job)
        if status.state == State.CANCELLED:
            raise JobCancelled(f"job {job} was cancelled: {status.reason or 'no reason given'}", job=job)
        raise WaitTimeout(
            f"job {job} is {status.state}; it has no result yet", job=job, state=str(status.state)
        )

    def wait(self, job: str, timeout_s: float | None = None) -> Any:
        """Wait until a job has ended and return its result: one subscription, however many steps it has.

        Raises:
            as ``result``; WaitTimeout after ``timeout_s``, while the job goes on.
        """
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._state.state(job).is_terminal:
            with self._state.ending(job) as ended:
                while not self._state.state(job).is_terminal:
                    left = LOOK_S if ends is None else min(LOOK_S, ends - time.monotonic())
                    if left <= 0:
                        raise WaitTimeout(
                            f"job {job} did not end within {timeout_s:g} s; it goes on", job=job
                        )
                    if not ended.wait(left):
                        break  # the subscription is lost: make another
        return self.result(job)

    # -- steer --------------------------------------------------------------

    def cancel(self, job: str, reason: str = "") -> JobStatus:
        """Cancel a job: nothing of it starts from now on; needs no worker alive."""
        self._state.cancel(job, reason)
        return self._state.status(job)

    def pause(self, job: str) -> JobStatus:
        """Pause a job: running steps finish, none starts."""
        self._state.pause(job)
        return self._state.status(job)

    def resume(self, job: str) -> JobStatus:
        """Let a paused job go on."""
        self._state.resume(job)
        self._send_frontier(job)
        return self._state.status(job)

    def retry(self, job: str, from_step: str | None = None) -> JobStatus:
        """Let a failed or cancelled job go on from what is recorded.

        Args:
            job: the job's id.
            from_step: a step's id or key: it and all that came of it is forgotten first.
        """
        if from_step is None:
            self._state.retry(job)
        else:
            step = parse_step_id(from_step)
            self._state.retry_from(job, step[1] if step else from_step)
        self._send_frontier(job)
        return self._state.status(job)

    def tune(self, job: str, step: str, *, window: int | None = None, batch: int | None = None) -> JobStatus:
        """Change the limits of an ``each`` that runs in batches.

        Args:
            job: the job's id.
            step: the id or key of the ``each``.
            window: how many batches may be in flight, 1 to 10,000; as it was if None.
            batch: how many items a batch has, 0 for as many as measured; as it was if None.

        Raises:
            InvalidRequest, IllegalTransition: the step runs no batches, or has ended.
        """
        if not (window is None or 1 <= window <= MOST_IN_FLIGHT) or (batch is not None and batch < 0):
            raise InvalidRequest(
                f"expected a window from 1 to {MOST_IN_FLIGHT:,} and a batch from 0, got {window} and {batch}"
            )
        named = parse_step_id(step)
        epoch = self._state.look_at_epoch(job)
        triggers = self._state.tune(job, named[1] if named else step, window=window, batch=batch)
        with left_to_the_reconciler(job):
            self._parts.outbox.send(job, triggers, epoch)
        return self._state.status(job)

    def failed_items(self, job: str) -> list[dict[str, Any]]:
        """Return the items that failed within the share that an ``each`` allows."""
        return self._state.failed_items(job)

    def why(self, job: str) -> list[Reason]:
        """Return why a job is not moving, most urgent first, each reason with what to do.

        Raises:
            JobNotFound.
        """
        return reasons(self._parts, job)

    def findings(self) -> list[Finding]:
        """Check broker, Redis, settings and workers; each finding says what to do."""
        return findings(self._parts)

    def _send_frontier(self, job: str) -> None:
        with left_to_the_reconciler(job):  # the job goes on, whether it can be sent now or not
            self._parts.outbox.send_again(job, FRONTIER)


def _own_app() -> Any:
    from coordinator.app import app  # made when it is imported: not beside that of ``install``

    return app


def _refused(errors: list[str], job: Any) -> dict[str, Any]:
    return {"status": "error", "message": "Validation failed", "errors": errors, "id": job}
