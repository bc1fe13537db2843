"""How jobs look from outside: status, lists, steps, events, alerts.

Owns the reads that people and programs see. Invariant: reads change nothing.
What a worker reads lives in ``journal.py``, pages of jobs in ``overview.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from kombu.utils.json import loads

from coordinator.plan import Plan, PlannedStep
from coordinator.state.journal import EXPANDED, LOST, OUT, RECORD_LENGTH, WON
from coordinator.state.keys import SHARDS, step_id
from coordinator.state.overview import Cursor, Overview, status_of
from coordinator.states import Event, JobStatus, StepState, StepStatus
from coordinator.stream import Stream


class Views(Overview):
    """Jobs as ``status``, ``list``, ``steps`` and ``events`` show them."""

    def status(self, job: str) -> JobStatus:
        """Return how a job stands, with its flags and parameters."""
        fields = self._meta(job)
        done = self.client.hlen(self._key(job, "r"))
        flags = self.get_validation_status(job).flags
        return status_of(job, fields, done, flags=flags, params=loads(fields.get("params", "{}")))

    def jobs(self, state: str | None = None, kind: str | None = None, limit: int = 100) -> list[JobStatus]:
        """Return the newest jobs, flags and parameters left out."""
        found: list[JobStatus] = []
        cursor: Cursor | None = None
        while len(found) < limit:
            page = self.page(state=state, kind=kind, limit=limit - len(found), cursor=cursor)
            found += page.jobs
            if not (cursor := page.next):
                break
        return found

    # -- steps, events, alerts ----------------------------------------------

    def steps(self, job: str) -> Iterator[StepStatus]:
        """Yield every step of a job with how it stands, in the order of the plan."""
        self.state(job)
        if not self.client.exists(self._key(job, "p")):
            return
        raw = {letter: self.client.hgetall(self._key(job, letter)) for letter in "rax"}
        hashes = {letter: {k.decode(): v.decode() for k, v in found.items()} for letter, found in raw.items()}
        fragments = self.fragments(job)
        yield from self._steps_of(job, self.plan(job), fragments, hashes)

    def events(self, job: str, after: str = "0") -> list[Event]:
        """Return a job's events, oldest first, that came after the event ``after``."""
        entries = self.client.xrange(self._key(job, "e"), min=f"({after}" if after != "0" else "-")
        return [
            Event(stamp, ms_of(stamp), job=job, **event_fields(fields))
            for stamp, fields in ((entry_id.decode(), fields) for entry_id, fields in entries)
        ]

    def alerts(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return the newest alerts."""
        found: list[dict[str, Any]] = []
        for shard in range(SHARDS):
            for entry_id, fields in self.client.xrevrange(self.keys.index(shard, "alerts"), count=limit):
                stamp = entry_id.decode()
                found.append({"id": f"{shard}:{stamp}", "at_ms": ms_of(stamp), **decoded(fields)})
        return sorted(found, key=lambda alert: alert["at_ms"], reverse=True)[:limit]

    # -- private ------------------------------------------------------------

    def _meta(self, job: str) -> dict[str, str]:
        fields = decoded(self.client.hgetall(self._key(job, "m")))
        if "state" not in fields:
            raise self._not_found(job)
        return fields

    def _steps_of(
        self,
        job: str,
        plan: Plan,
        fragments: dict[str, Plan],
        hashes: dict[str, dict[str, str]],
        *,
        is_lost: bool = False,
    ) -> Iterator[StepStatus]:
        ready = {
            trigger: plan.is_ready(trigger, hashes["r"]) for trigger in {step.after for step in plan.steps}
        }
        for step in plan.steps:
            status = self._step_status(
                job, step, hashes, is_ready=ready[step.after], is_expanded=step.key in fragments
            )
            # A batch has no mark of its own: it is lost with its stream.
            yield replace(status, state=StepState.LOST) if is_lost and not status.error else status
            if step.key in fragments:
                fragment = fragments[step.key]
                is_over = isinstance(fragment, Stream) and status.state == StepState.LOST
                yield from self._steps_of(job, fragment, fragments, hashes, is_lost=is_over)
                if isinstance(fragment, Stream):
                    yield from self._failed_items(job, fragment)

    def _failed_items(self, job: str, stream: Stream) -> Iterator[StepStatus]:
        task = stream.each["step"]["task"]
        label = task.rpartition(".")[2]
        for failed in self.failed_items(job):
            if failed["owner"] == stream.owner:
                id_ = step_id(job, stream.owner, f"{label}[{failed['item']}]")
                error = {"step": id_, "task": task, "traceback": "", **failed}
                yield StepStatus(
                    id_, f"{stream.owner}[{failed['item']}]", task, StepState.FAILED, error=error
                )

    def _step_status(
        self,
        job: str,
        step: PlannedStep,
        hashes: dict[str, dict[str, str]],
        *,
        is_ready: bool,
        is_expanded: bool,
    ) -> StepStatus:
        head = (step_id(job, step.key, step.label), step.key, step.task)
        record = hashes["r"].get(step.key)
        if record == EXPANDED or (record or "").startswith(WON):
            return StepStatus(*head, StepState.SUCCEEDED)
        if record in (LOST, OUT) and step.key not in hashes["x"]:
            return StepStatus(*head, StepState.LOST)
        if record is not None and record.startswith("["):
            _, attempt, started, runtime, worker = loads(record)[:RECORD_LENGTH]
            return StepStatus(*head, StepState.SUCCEEDED, attempt, worker, started, runtime)
        attempt, _, retries, token, started, live = loads(hashes["a"].get(step.key, '[0,0,0,"",null,0]'))
        worker = token.partition("~")[0]
        if step.key in hashes["x"]:
            return StepStatus(
                *head, StepState.FAILED, attempt, worker, started, error=loads(hashes["x"][step.key])
            )
        if is_expanded:
            return StepStatus(*head, StepState.EXPANDED, attempt, worker, started)
        if live:
            return StepStatus(*head, StepState.RUNNING, attempt, worker, started)
        due = self.client.zscore(self.keys.named(job, "timers")[0], f"{job}|{step.key}") if retries else None
        if due is not None:
            return StepStatus(*head, StepState.RETRYING, attempt, worker, started, due_ms=int(due))
        return StepStatus(*head, StepState.READY if is_ready else StepState.WAITING, attempt, worker, started)


def event_fields(entry: dict[bytes, bytes]) -> dict[str, Any]:
    """Return what an entry of events says. A timer or a lease that is over names its step as a trigger."""
    fields: dict[str, Any] = decoded(entry)
    step = str(fields.get("step", ""))
    return fields | {"step": step.removeprefix("="), "is_due": step.startswith("=")}


def ms_of(entry_id: str) -> int:
    """Return when an entry of a stream was added, by Redis' clock."""
    return int(entry_id.partition("-")[0])


def decoded(fields: dict[bytes, bytes]) -> dict[str, str]:
    """Return the fields of an entry or a hash as text."""
    return {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}
