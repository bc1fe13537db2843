"""Reading a job back: its state, plan, results, steps and events.

Owns every read of a job's keys. Invariant: reads change nothing, and a record
is what the first successful attempt wrote, for ever. Values larger than the
limit were stored apart and are fetched through ``blobs``.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import redis
from kombu.utils.json import loads
from redis.client import PubSub

from coordinator import blobs
from coordinator.errors import JobNotFound
from coordinator.states import Event, Flag, JobStatus, State, StepState, StepStatus, Validation
from coordinator.plan import Plan, PlannedStep, Shape, filled, leaves, prefix_of
from coordinator.state.keys import SHARDS, Keys, step_id

#: Shorter than the shortest retention: a job's id can't come to name another plan within it.
PLAN_CACHE_S = 50.0
PLAN_CACHE_SIZE = 64
READ_AT_ONCE = 1000
#: The record of a step whose canvas, put in its place, has ended: its value is that canvas' value.
EXPANDED = "@"


class Journal:
    """What is recorded about jobs. Safe to share between threads."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self.client = client
        self.keys = keys
        self._plans: OrderedDict[tuple[str, str], tuple[float, Plan]] = OrderedDict()

    def now_ms(self) -> int:
        """Redis' clock: the only one that leases, timers and flags are measured by."""
        seconds, micros = self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    # -- one job ------------------------------------------------------------

    def state(self, job: str) -> State:
        """Return a job's state.

        Raises:
            JobNotFound: no job has that id.
        """
        text = self.client.hget(self._key(job, "m"), "state")
        if text is None:
            raise JobNotFound(f"no job has the id {job!r}; `list` shows those that exist", job=job)
        return State(text.decode())

    def get_validation_status(self, job: str) -> Validation:
        """Return the verdicts of a job's checks: valid, invalid or pending, and each flag."""
        flags = tuple(
            Flag(**loads(text)) for _, text in sorted(self.client.hgetall(self._key(job, "f")).items())
        )
        meta = self.client.hmget(self._key(job, "m"), "receipt", "state")
        if any(not flag.valid for flag in flags):
            return Validation("invalid", flags)
        return Validation("valid" if meta[0] else "pending", flags)

    def status(self, job: str) -> JobStatus:
        """Return how a job stands, with its flags and parameters."""
        fields = self._meta(job)
        done = self.client.hlen(self._key(job, "r"))
        flags = self.get_validation_status(job).flags
        return _status(job, fields, done, flags=flags, params=loads(fields.get("params", "{}")))

    def jobs(self, state: str | None = None, kind: str | None = None, limit: int = 100) -> list[JobStatus]:
        """Return the newest jobs, flags and parameters left out."""
        found: list[JobStatus] = []
        for job in self._newest():
            try:
                fields = self._meta(job)
            except JobNotFound:  # kept no longer; the reconciler prunes the index
                continue
            if (state and fields["state"] != state) or (kind and fields["kind"] != kind):
                continue
            found.append(_status(job, fields, self.client.hlen(self._key(job, "r"))))
            if len(found) >= limit:
                break
        return found

    def ids(self, prefix: str, limit: int = 6) -> list[str]:
        """Return up to ``limit`` ids that start with ``prefix``; an id that is all of it comes alone."""
        if self.client.exists(self._key(prefix, "m")):
            return [prefix]
        found = []
        for shard in range(SHARDS):
            for job, _ in self.client.zscan_iter(
                self.keys.index(shard, "jobs"), match=_escaped(prefix) + "*"
            ):
                found.append(job.decode())
        return sorted(found)[:limit]

    def plan(self, job: str, prefix: str = "") -> Plan:
        """Return a job's plan, or with ``prefix`` "5/" the plan that took the place of step 5."""
        cached = self._plans.get((job, prefix))
        if cached and time.monotonic() - cached[0] < PLAN_CACHE_S:
            return cached[1]
        blob = (
            self.client.hget(self._key(job, "g"), prefix[:-1])
            if prefix
            else self.client.get(self._key(job, "p"))
        )
        if blob is None:
            raise JobNotFound(f"job {job} has no plan {prefix!r} any more", job=job)
        return self.remember(job, prefix, Plan.loads(blob))

    def remember(self, job: str, prefix: str, plan: Plan) -> Plan:
        """Keep a plan at hand for a while."""
        self._plans[job, prefix] = (time.monotonic(), plan)
        while len(self._plans) > PLAN_CACHE_SIZE:
            self._plans.popitem(last=False)
        return plan

    def remember_blob(self, job: str, blob: bytes) -> None:
        """Keep a job's own plan at hand, from the form in which Redis holds it."""
        self.remember(job, "", Plan.loads(blob))

    def knows_plan(self, job: str) -> bool:
        cached = self._plans.get((job, ""))
        return cached is not None and time.monotonic() - cached[0] < PLAN_CACHE_S

    def fragments(self, job: str) -> dict[str, Plan]:
        """Return the plans of the steps that put a canvas in their place, by key."""
        found = self.client.hgetall(self._key(job, "g"))
        return {key.decode(): Plan.loads(blob) for key, blob in found.items()}

    def recorded(self, job: str) -> set[str]:
        """Return the keys of the steps that are recorded."""
        return {key.decode() for key in self.client.hkeys(self._key(job, "r"))}

    def retries(self, job: str) -> dict[str, int]:
        """Return how often each unfinished step was retried, by key."""
        return {key: attempt[2] for key, attempt in self._attempts(job).items()}

    def busy(self, job: str) -> set[str]:
        """Return the keys of the steps that hold a lease or wait for a timer."""
        attempts = self._attempts(job)
        timers = self.keys.named(job, "timers")[0]
        retried = [key for key, attempt in attempts.items() if attempt[2] and not attempt[5]]
        due = self.client.zmscore(timers, [f"{job}|{key}" for key in retried]) if retried else []
        waiting = {key for key, score in zip(retried, due, strict=True) if score is not None}
        return waiting | {key for key, attempt in attempts.items() if attempt[5]}

    def begun(self, job: str) -> dict[str, int]:
        """Return how many attempts at each unfinished step have begun, by key."""
        return {key: attempt[0] for key, attempt in self._attempts(job).items()}

    def noted(self, job: str, triggers: set[str]) -> set[str]:
        """Return which of the triggers are in the outbox."""
        names = sorted(triggers)
        if not names:
            return set()
        scores = self.client.zmscore(self.keys.named(job, "outbox")[0], [f"{job}|{name}" for name in names])
        return {name for name, score in zip(names, scores, strict=True) if score is not None}

    def probe_returned(self, queue: str) -> int:
        """Return when the newest probe that came back from a queue was sent (ms), or 0."""
        return int(self.client.zscore(self.keys.probes, queue) or 0)

    def outcome(self, job: str, key: str) -> tuple[str, str | None]:
        """Return a step's outcome for Celery: ``succeeded`` with its record, ``failed`` with its error,
        ``running`` (also while what it recorded is still to be followed up) or ``pending``."""
        pipe = self.client.pipeline(transaction=True)
        for letter in "rxa":
            pipe.hget(self._key(job, letter), key)
        record, error, attempt = pipe.execute()
        if record is not None:
            return ("running" if self._has_outbox(job, key) else "succeeded"), record.decode()
        if error is not None:
            return "failed", error.decode()
        return ("running" if attempt is not None and loads(attempt)[5] else "pending"), None

    @contextmanager
    def ending(self, job: str) -> Iterator[PubSub]:
        """Listen for the word that a job has ended."""
        with self.client.pubsub() as listener:
            listener.subscribe(self.keys.channel(job))
            yield listener

    # -- values -------------------------------------------------------------

    def value(self, job: str, shape: Shape) -> Any:
        """Return the value of a shape whose leaves are all recorded."""
        keys = list(dict.fromkeys(leaves(shape)))
        values: dict[str, Any] = {}
        for start in range(0, len(keys), READ_AT_ONCE):
            part = keys[start : start + READ_AT_ONCE]
            for key, text in zip(part, self.client.hmget(self._key(job, "r"), part), strict=True):
                values[key] = self.value_of_record(job, key, text)
        return filled(shape, values)

    def value_of_record(self, job: str, key: str, text: bytes | str | None) -> Any:
        """Return the value that a record holds or points to."""
        if text is None:
            raise JobNotFound(f"job {job} has no result of step {key} any more", job=job)
        if text in (EXPANDED, EXPANDED.encode()):
            return self.value(job, self.plan(job, f"{key}/").result)
        record = loads(text)
        return blobs.fetch(record[0]) if len(record) > RECORD_LENGTH else record[0]

    def result(self, job: str) -> Any:
        """Return the value of a job that succeeded."""
        return self.value(job, self.plan(job).result)

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
        return [_event(job, entry_id.decode(), _decoded(fields)) for entry_id, fields in entries]

    def alerts(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return the newest alerts."""
        found = []
        for shard in range(SHARDS):
            for entry_id, fields in self.client.xrevrange(self.keys.index(shard, "alerts"), count=limit):
                stamp = entry_id.decode()
                found.append(
                    {"id": f"{shard}:{stamp}", "at_ms": int(stamp.partition("-")[0]), **_decoded(fields)}
                )
        return sorted(found, key=lambda alert: alert["at_ms"], reverse=True)[:limit]

    # -- private ------------------------------------------------------------

    def _key(self, job: str, letter: str) -> str:
        return self.keys.named(job, letter)[0]

    def _has_outbox(self, job: str, key: str) -> bool:
        """Whether anything that a step's record made ready may still have to be sent."""
        step = self.plan(job, prefix_of(key)).by_key[key]
        return bool(self.noted(job, {part[1] for part in step.follow if part[0] == "next"}))

    def _attempts(self, job: str) -> dict[str, list[Any]]:
        return {key.decode(): loads(text) for key, text in self.client.hgetall(self._key(job, "a")).items()}

    def _meta(self, job: str) -> dict[str, str]:
        fields = _decoded(self.client.hgetall(self._key(job, "m")))
        if "state" not in fields:
            raise JobNotFound(f"no job has the id {job!r}; `list` shows those that exist", job=job)
        return fields

    def _newest(self) -> Iterator[str]:
        found: list[tuple[float, str]] = []
        for shard in range(SHARDS):
            rows = self.client.zrevrange(self.keys.index(shard, "jobs"), 0, -1, withscores=True)
            found += [(created, job.decode()) for job, created in rows]
        return (job for _, job in sorted(found, reverse=True))

    def _steps_of(
        self, job: str, plan: Plan, fragments: dict[str, Plan], hashes: dict[str, dict[str, str]]
    ) -> Iterator[StepStatus]:
        ready = {
            trigger: plan.is_ready(trigger, hashes["r"]) for trigger in {step.after for step in plan.steps}
        }
        for step in plan.steps:
            yield self._step_status(
                job, step, hashes, is_ready=ready[step.after], is_expanded=step.key in fragments
            )
            if step.key in fragments:
                yield from self._steps_of(job, fragments[step.key], fragments, hashes)

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
        if record == EXPANDED:
            return StepStatus(*head, StepState.SUCCEEDED)
        if record is not None:
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


#: value, attempt, started (ms), runtime (ms), worker; a sixth part says that the value lies apart.
RECORD_LENGTH = 5


def _status(
    job: str,
    fields: dict[str, str],
    done: int,
    *,
    flags: Iterable[Flag] = (),
    params: dict[str, Any] | None = None,
) -> JobStatus:
    def number(name: str) -> int | None:
        return int(float(fields[name])) if fields.get(name) else None

    return JobStatus(
        id=job,
        kind=fields["kind"],
        state=State(fields["state"]),
        version=fields.get("version", ""),
        created_ms=number("created") or 0,
        started_ms=number("started"),
        finished_ms=number("finished"),
        steps_done=done,
        steps_total=number("total") or 0,
        flags=tuple(flags),
        params=params or {},
        error=loads(fields["error"]) if fields.get("error") else None,
        reason=fields.get("reason", ""),
    )


def _event(job: str, entry_id: str, fields: dict[str, str]) -> Event:
    at_ms = int(entry_id.partition("-")[0])
    return Event(entry_id, at_ms, job, fields["event"], fields.get("step", ""), fields.get("detail", ""))


def _decoded(fields: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items()}


def _escaped(prefix: str) -> str:
    return "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in prefix)
