"""Why a job is not moving: what each of its open steps waits for, and what to do.

Owns the reasons behind ``manage.py why``. Invariant: it changes nothing, and it answers
within a few seconds whatever is away. A job may be slow for several reasons at once: they
come in the order in which they should be looked at, the ones that need somebody first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from kombu.exceptions import OperationalError

from coordinator import about
from coordinator.counted import counted
from coordinator.doctor.connection import silence
from coordinator.doctor.finding import ERROR
from coordinator.doctor.redis import server
from coordinator.errors import BatutaError, BrokerUnreachable, JobNotFound, StateUnreachable
from coordinator.forecast import tasks_of
from coordinator.parts import Parts
from coordinator.plan import PHASE_CHECK, Plan, PlannedStep, leaves, prefix_of
from coordinator.queues import Queue, look
from coordinator.reach import unreachable
from coordinator.settings import redacted
from coordinator.states import JobStatus, State, StepState, StepStatus

#: Steps of one sort that are named one by one; the rest is counted.
SHOWN = 3
#: A message that neither waits in a queue nor has begun is found within this time (s) at most.
SENT_S = 15
#: Findings of ``doctor`` that mean, where they are errors, that Redis takes no write.
REFUSING = frozenset({"redis role", "persistence", "redis memory", "cluster"})
#: What goes on by itself only while a worker reconciles.
REPAIRED = frozenset({"lease-over", "retry", "postponed", "outbox", "sent", "deadline", "moving"})


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason, with what to do."""

    code: str  # succeeded, paused, no-consumer, leased, retry, barrier …: for programs
    found: str
    advice: str = ""
    step: str = ""  # id of the step that waits, where it is one
    needs_you: bool = False  # it will not go on by itself


_MOVING = Reason(
    "moving",
    "nothing is known to hold it up: it is between two steps, or about to end",
    "look again in some seconds; where it stays so, `events` and `doctor`",
)


def reasons(parts: Parts, job: str) -> list[Reason]:
    """Return why a job is not moving, most urgent first; never empty.

    Raises:
        JobNotFound: no job has that id.
    """
    fault = unreachable(parts.settings.redis_url) or silence(parts.settings.redis_url)
    if fault:
        said = f"Redis at {redacted(parts.settings.redis_url)} can't be reached: {fault}"
        return [
            Reason("redis-unreachable", said, "start it, or correct REDIS_URL; jobs wait", needs_you=True)
        ]
    try:
        status = parts.state.status(job)
        parts.state.look_at_epoch(job)
        if status.state.is_terminal:
            found = [*_of_state(status)]
        else:
            found = [*_of_redis(parts), *_Look(parts, status).reasons()]
    except StateUnreachable as error:
        return [Reason("redis-unreachable", str(error), "see `doctor`", needs_you=True)]
    return sorted(found, key=lambda reason: not reason.needs_you)


def _of_redis(parts: Parts) -> Iterator[Reason]:
    """Say for what fault of its own Redis refuses writes: leases run out then under workers that live."""
    for finding in server(parts):
        if finding.level == ERROR and finding.name in REFUSING:
            yield Reason("redis-refuses", f"{finding.name}: {finding.found}", finding.advice, needs_you=True)


def _of_state(status: JobStatus) -> Iterator[Reason]:
    """Say how a job ended."""
    if status.state == State.SUCCEEDED:
        yield Reason("succeeded", "it has succeeded; nothing is left to do")
    elif status.state == State.FAILED:
        error = status.error or {}
        place = f" at {error['step']}" if error.get("step") else ""
        found = f"it failed{place}: {error.get('type')}: {error.get('message')}"
        yield Reason(
            "failed", found, "once mended: `retry`; what is recorded is kept", error.get("step", ""), True
        )
    elif status.state == State.REJECTED:
        yield Reason(
            "rejected",
            f"its checks refused it: {status.reason}",
            "submit a request that fits",
            needs_you=True,
        )
    else:
        found = f"it was cancelled: {status.reason or 'no reason given'}"
        yield Reason("cancelled", found, "`retry` goes on from what is recorded", needs_you=True)


class _Look:
    """One look at a job that has not ended."""

    def __init__(self, parts: Parts, status: JobStatus) -> None:
        self._parts = parts
        self._state = parts.state
        self._status = status
        self._job = status.id
        self._now_ms = parts.state.now_ms()
        self._left = dict(self._outbox())  # trigger -> since when (ms)

    def reasons(self) -> Iterator[Reason]:
        found = list(self._found()) or [_MOVING]
        yield from found
        if any(reason.code in REPAIRED for reason in found):
            yield from self._unreconciled()

    # -- what holds steps up, one sort each -----------------------------------

    def _found(self) -> Iterator[Reason]:
        if self._status.state == State.PAUSED:
            yield Reason(
                "paused",
                "it is paused: running steps finish, none starts",
                "`resume` lets it go on",
                needs_you=True,
            )
        by_state: dict[StepState, list[StepStatus]] = defaultdict(list)
        counts: Counter[StepState] = Counter()
        for step in self._state.steps(self._job):
            counts[step.state] += 1
            if step.state == StepState.READY or len(by_state[step.state]) < SHOWN:
                by_state[step.state].append(step)
        yield from self._running(by_state[StepState.RUNNING], counts[StepState.RUNNING])
        yield from self._retrying(by_state[StepState.RETRYING], counts[StepState.RETRYING])
        yield from self._unsent()
        if self._status.state != State.PAUSED:
            yield from self._ready(by_state[StepState.READY], by_state[StepState.RETRYING])
        yield from self._barriers()
        yield from self._deadline()

    def _running(self, steps: list[StepStatus], count: int) -> Iterator[Reason]:
        leases = self._state.keys.named(self._job, "leases")[0]
        for step in steps:
            ends = self._state.client.zscore(leases, f"{self._job}|{step.key}")
            held = f"{step.id} runs: its lease is held by {step.worker} for {self._ago(step.started_ms)}"
            if ends is not None and ends < self._now_ms:
                found = f"{held}, and ran out {self._ago(ends)} ago: that worker is gone"
                advice = "a reconciler sends it again at its next tick; where no worker lives, start one"
                yield Reason("lease-over", found, advice, step.id)
            else:
                advice = "wait; a time_limit on the task bounds it, `cancel` ends it"
                yield Reason("leased", f"{held} (attempt {step.attempts})", advice, step.id)
        if count > len(steps):
            yield Reason("leased", f"{counted(count - len(steps), 'more step')} running")

    def _retrying(self, steps: list[StepStatus], count: int) -> Iterator[Reason]:
        for step in steps:
            wait_s = max(0.0, ((step.due_ms or 0) - self._now_ms) / 1000)
            found = f"{step.id} retries in {wait_s:.0f} s, after attempt {step.attempts}"
            yield Reason("retry", found, "wait; `events` says what it failed with", step.id)
        if count > len(steps):
            yield Reason("retry", f"{counted(count - len(steps), 'more step')} waiting for a timer")

    def _unsent(self) -> Iterator[Reason]:
        for trigger, since_ms in sorted(self._left.items(), key=lambda item: item[1])[:SHOWN]:
            found = f"in the outbox since {self._ago(since_ms)}, and not known to be sent: {_named(trigger)}"
            advice = (
                "the reconciler of any worker sends it; where it stays, look at broker and workers: `doctor`"
            )
            yield Reason("outbox", found, advice)

    def _ready(self, steps: list[StepStatus], retrying: list[StepStatus]) -> Iterator[Reason]:
        """Say what holds up the steps that were sent and have not begun, and which tasks nobody knows."""
        timers = self._state.waiting(self._job, [step.key for step in steps])
        if timers:
            yield from self._postponed(timers)
        planned = [found for step in steps if step.key not in timers and (found := self._planned(step.key))]
        phase_checks = self._status.state == State.RECEIVED
        planned = [step for step in planned if (step.phase == PHASE_CHECK) == phase_checks]
        queues = self._by_queue(planned)
        again = self._by_queue([found for step in retrying if (found := self._planned(step.key))])
        if not queues and not again:
            return
        try:
            for queue in look(self._parts.app, queues):
                yield self._queue(queue, len(queues[queue.name]))
            yield from self._unregistered({**again, **queues})
        except (BrokerUnreachable, OperationalError, OSError) as error:
            advice = "start it, or correct BROKER_URL; what is recorded is sent once it is back"
            yield Reason("broker-unreachable", str(error), advice, needs_you=True)

    def _by_queue(self, steps: Iterable[PlannedStep]) -> dict[str, list[PlannedStep]]:
        queues: dict[str, list[PlannedStep]] = defaultdict(list)
        for step in steps:
            queues[self._parts.dispatcher.queue_of(step)].append(step)
        return queues

    def _queue(self, queue: Queue, count: int) -> Reason:
        steps = counted(count, "step")
        consumers, who, advice = queue.consumers, "no consumer on", f"`manage.py worker -Q {queue.name}`"
        if consumers is None:
            consumers = sum(queue.name in worker.queues for worker in self._workers)
            who = "no worker that answers reads"
            advice += "; those of a fleet answer only between steps: where all are busy, wait"
        if not consumers:
            waiting = f"{steps} of this job and {counted(queue.messages, 'message')} wait there"
            return Reason("no-consumer", f"{who} queue {queue.name}: {waiting}", advice, needs_you=True)
        if queue.messages:
            messages, readers = counted(queue.messages, "message"), counted(consumers, "consumer")
            found = f"{steps} among {messages} in queue {queue.name}, with {readers}"
            return Reason("behind", found, "wait, or start more workers")
        found = f"{steps} sent to queue {queue.name}, which is empty: held by a busy worker, or lost"
        return Reason("sent", found, f"wait: what was lost is found and sent again within about {SENT_S} s")

    def _unregistered(self, queues: dict[str, list[PlannedStep]]) -> Iterator[Reason]:
        """Say which tasks the workers that answered and read a queue don't know: all of them, or some."""
        for name, steps in queues.items():
            readers = [worker for worker in self._workers if name in worker.queues]
            for task in sorted({task for step in steps for task in tasks_of(step)}):
                lacking = [worker.name for worker in readers if task not in worker.tasks]
                if lacking and len(lacking) == len(readers):
                    found = f"no live worker that reads queue {name} has registered the task {task}"
                    advice = "start workers with the COORDINATOR_JOBS that name its module; the step waits"
                    yield Reason("unregistered", found, advice, needs_you=True)
                elif lacking:
                    found = f"{', '.join(lacking)} reads queue {name} and does not know the task {task}"
                    advice = (
                        "bring it to the code of the others, or the task to a queue of its own; a message "
                        "that it drops is sent again"
                    )
                    yield Reason("partly-registered", found, advice)

    def _postponed(self, keys: Collection[str]) -> Iterator[Reason]:
        timers = self._state.keys.named(self._job, "timers")[0]
        for key in sorted(keys)[:SHOWN]:
            due = self._state.client.zscore(timers, f"{self._job}|{key}") or self._now_ms
            wait_s = max(0.0, (due - self._now_ms) / 1000)
            yield Reason(
                "postponed", f"step {key} starts in {wait_s:.0f} s, as its countdown or eta says", "wait"
            )
        if len(keys) > SHOWN:
            yield Reason("postponed", f"{counted(len(keys) - SHOWN, 'more step')} waiting for a timer")

    def _barriers(self) -> Iterator[Reason]:
        """Say how far the barriers are whose parts are partly recorded."""
        recorded = self._state.recorded(self._job)
        for plan in [self._plan(""), *self._state.fragments(self._job).values()]:
            for key, shape in plan.joins.items() if plan else ():
                parts = list(leaves(shape))
                done = sum(part in recorded for part in parts)
                if 0 < done < len(parts):
                    yield Reason(
                        "barrier",
                        f"waiting at a barrier ({key}): {done} of {len(parts)}",
                        "see the steps above",
                    )

    def _deadline(self) -> Iterator[Reason]:
        timers = self._state.keys.named(self._job, "timers")[0]
        due = self._state.client.zscore(timers, f"{self._job}|!deadline")
        if due is not None:
            wait_s = (due - self._now_ms) / 1000
            found = (
                f"deadline in {wait_s:.0f} s" if wait_s > 0 else f"its deadline passed {-wait_s:.0f} s ago"
            )
            yield Reason("deadline", found, "it fails then")

    def _unreconciled(self) -> Iterator[Reason]:
        """Say that nobody fires timers and repairs, where no worker does."""
        if not self._state.client.exists(self._state.keys.reconciler):
            found = "no worker reconciles: no retry, countdown or deadline comes due, nothing is repaired"
            yield Reason("no-reconciler", found, "start one: `manage.py worker`", needs_you=True)

    # -- where it is looked up -------------------------------------------------

    @cached_property
    def _workers(self) -> list[about.WorkerAbout]:
        return about.ask(self._parts.app, self._parts.settings)

    def _outbox(self) -> Iterator[tuple[str, float]]:
        key = self._state.keys.named(self._job, "outbox")[0]
        for member, since in self._state.client.zscan_iter(key, match=f"{_escaped(self._job)}|*", count=1000):
            yield member.decode().rpartition("|")[2], since

    def _planned(self, key: str) -> PlannedStep | None:
        plan = self._plan(prefix_of(key))
        return plan.by_key.get(key) if plan else None

    def _plan(self, prefix: str) -> Plan | None:
        try:
            return self._state.plan(self._job, prefix)
        except (JobNotFound, BatutaError):
            return None

    def _ago(self, ms: float | None) -> str:
        return f"{max(0.0, self._now_ms - (ms or self._now_ms)) / 1000:.0f} s"


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in text)


def _named(trigger: str) -> str:
    """Return what an entry of the outbox would send, in words."""
    if trigger == "*":
        return "all that is ready"
    if trigger == "!deadline":
        return "the end of the job, whose deadline has passed"
    if trigger.startswith("="):
        return f"step {trigger[1:]}"
    within, is_first, _ = trigger.rpartition("^")
    if not is_first:
        return f"what follows {trigger}"
    return f"the first steps in the place of step {within[:-1]}" if within else "the first steps"
