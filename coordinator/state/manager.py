"""``StateManager``: the job's state in Redis, one Lua script a transition.

Owns every write to a job's keys. Invariant: a transition is one script, which
refuses what is not legal from the present state and says which state it found.
Reading lives in ``journal.py`` and ``views.py``; sending what a transition has made ready is the
dispatcher's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kombu.utils.json import dumps

from coordinator.errors import IllegalTransition, JobNotFound
from coordinator.plan import Follow, Plan, PlannedStep
from coordinator.settings import Settings
from coordinator.state.connection import Scripts, reaching
from coordinator.state.keys import SHARDS, Keys
from coordinator.state.views import Views
from coordinator.states import Flag, State


class StateManager(Views):
    """Flags, state and results of jobs, in Redis. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        scripts = Scripts(settings.redis_url)
        super().__init__(scripts.client, Keys(settings.prefix))
        self._run = scripts
        self._reaching = reaching(settings.redis_url)
        self._lease_ms = int(settings.lease_s * 1000)
        self._retention_s = settings.retention_s
        self._max_attempts = settings.max_attempts

    # -- a job's life -------------------------------------------------------

    def submit(
        self,
        job: str,
        state: State,
        fields: Mapping[str, Any],
        *,
        plan: Plan | None = None,
        flags: Mapping[str, Flag] | None = None,
        deadline_ms: int | None = None,
        reason: str = "",
    ) -> list[str]:
        """Create a job, once. Returns ``["created"]`` or ``["duplicate", state, kind]``."""
        pairs = [part for pair in fields.items() for part in pair]
        return self._run(
            "submit",
            self.keys.named(job, "m p f e jobs active outbox timers alerts"),
            [
                job,
                state,
                plan.dumps() if plan else "",
                _flags_json(flags or {}),
                "" if deadline_ms is None else deadline_ms,
                self._retention_s,
                reason,
                *pairs,
            ],
        )

    def cancel(self, job: str, reason: str = "") -> None:
        """Cancel a job: nothing of it starts from now on."""
        keys = self.keys.named(job, "m e active timers p r x g f a b")
        self._steer(
            job, "cancelled", "cancel", keys, [job, reason, self._retention_s, self.keys.channel(job)]
        )

    def pause(self, job: str) -> None:
        """Pause a job: running steps finish, none starts."""
        self._steer(job, "paused", "pause", self.keys.named(job, "m e"), [])

    def resume(self, job: str) -> None:
        """Let a paused job go on. The caller sends the frontier."""
        self._steer(job, "resumed", "resume", self.keys.named(job, "m e active outbox x a"), [job, "resume"])

    def retry(self, job: str) -> None:
        """Let a failed or cancelled job go on from what is recorded. The caller sends the frontier."""
        keys = self.keys.named(job, "m e active outbox x a p r g f b")
        self._steer(job, "retried", "resume", keys, [job, "retry"])

    def complete(self, job: str) -> None:
        """End a job whose every step was recorded while it could not move."""
        keys = self.keys.named(job, "m e active a b timers p r x g f")
        self._run("complete", keys, [job, self._retention_s, self.keys.channel(job)])

    def fail_deadline(self, job: str, message: str) -> bool:
        """Fail a job whose deadline has passed; returns whether it was still moving."""
        error = dumps(
            {"step": "", "task": "", "type": "DeadlineExceeded", "message": message, "traceback": ""}
        )
        keys = self.keys.named(job, "m e active outbox alerts p r x g f a b")
        answer = self._run("deadline", keys, [job, error, message, self._retention_s, self.keys.channel(job)])
        return bool(answer[0] == "failed")

    def update_status(self, job: str, status: str) -> None:
        """Bring a job to ``status``, by the transition that leads there.

        Raises:
            IllegalTransition: no command leads to that state from the present one.
        """
        present = self.state(job)
        moves = {
            State.CANCELLED: self.cancel,
            State.PAUSED: self.pause,
            State.PROCESSING: self.resume if present == State.PAUSED else self.retry,
        }
        if present == status:
            return
        if status not in moves:
            raise IllegalTransition(
                f"job {job} is {present}; expected one of {', '.join(moves)}, got {status!r}: "
                "the other states come about by running it",
                job=job,
                state=str(present),
            )
        moves[State(status)](job)

    def _steer(self, job: str, done: str, script: str, keys: list[str], args: list[Any]) -> None:
        answer = self._run(script, keys, args)
        if answer[0] == "gone":
            raise JobNotFound(f"no job has the id {job!r}; `list` shows those that exist", job=job)
        if answer[0] == "illegal":
            raise IllegalTransition(
                f"job {job} is {answer[1]}; only {_LEGAL[done]} jobs can be {done}", job=job, state=answer[1]
            )

    # -- a step's life ------------------------------------------------------

    def begin(
        self, job: str, step: PlannedStep, token: str, *, record_of: str = "", want_plan: bool = False
    ) -> list[Any]:
        """Take the right to run a step, or learn why not: see ``lua/begin.lua``."""
        triggers = [part[1] for part in step.follow if part[0] == "next"]
        return self._run(
            "begin",
            self.keys.named(job, "m r a g p leases outbox timers"),
            [
                job,
                step.key,
                token,
                self._lease_ms,
                self._max_attempts,
                step.phase,
                record_of,
                "1" if want_plan else "0",
                *triggers,
            ],
        )

    def finish(self, job: str, key: str, attempt: int, record: str, follow: Follow) -> list[str]:
        """Record a result: see ``lua/finish.lua``."""
        return self._run(
            "finish",
            self.keys.named(job, "m r a b e p f g x leases outbox active timers"),
            [job, key, attempt, record, dumps(follow), self._retention_s, self.keys.channel(job)],
        )

    def decide(
        self, job: str, key: str, attempt: int, record: str, trigger: str, flags: Mapping[str, Flag]
    ) -> list[str]:
        """Write the flags and decide between processing and rejected: see ``lua/gate.lua``."""
        reasons = "; ".join(f"{name}: {flag.reason}" for name, flag in flags.items() if not flag.valid)
        return self._run(
            "gate",
            self.keys.named(job, "m r a f e p leases outbox active timers alerts"),
            [
                job,
                key,
                attempt,
                record,
                trigger,
                _flags_json(flags),
                reasons,
                self._retention_s,
                self.keys.channel(job),
            ],
        )

    def expand(self, job: str, key: str, attempt: int, plan: Plan) -> str:
        """Put a plan in the place of a step: see ``lua/expand.lua``."""
        return str(
            self._run(
                "expand",
                self.keys.named(job, "m r a g leases outbox active"),
                [job, key, attempt, plan.dumps(), len(plan.steps), plan.root_trigger],
            )[0]
        )

    def fail(
        self,
        job: str,
        key: str,
        error: Mapping[str, Any],
        *,
        attempt: int | None = None,
        owner: str = "",
        alert: str = "failed",
    ) -> str:
        """Fail a step for good, by its attempt or as the live attempt of a worker: see ``lua/fail.lua``."""
        message = f"{error['step']}: {error['type']}: {error['message']}"
        return str(
            self._run(
                "fail",
                self.keys.named(job, "m r a x e p f g b leases active timers alerts"),
                [
                    job,
                    key,
                    "" if attempt is None else attempt,
                    owner,
                    dumps(error),
                    message,
                    alert,
                    self._retention_s,
                    self.keys.channel(job),
                ],
            )[0]
        )

    def defer(self, job: str, key: str, attempt: int, delay_ms: int, message: str) -> str:
        """Give the lease back and set a timer: see ``lua/defer.lua``."""
        keys = self.keys.named(job, "m r a e leases timers active")
        return str(self._run("defer", keys, [job, key, attempt, delay_ms, message])[0])

    def release(self, job: str, key: str, why: str, owner: str = "") -> str:
        """Take a lease back, ``lost`` or ``expired``: see ``lua/release.lua``."""
        return str(self._run("release", self.keys.named(job, "a e leases outbox"), [job, key, why, owner])[0])

    def renew(self, job: str, key: str, owner: str) -> list[str]:
        """Lengthen a running step's lease; returns ``[renewed|lost, state of the job]``."""
        return self._run("renew", self.keys.named(job, "m a leases"), [job, key, owner, self._lease_ms])

    # -- the outbox ---------------------------------------------------------

    def sent(self, job: str, triggers: list[str]) -> None:
        """Take triggers off the outbox: what they name was sent and confirmed."""
        with self._reaching:
            self.client.zrem(self.keys.named(job, "outbox")[0], *[f"{job}|{trigger}" for trigger in triggers])

    def touch(self, job: str, trigger: str) -> None:
        """Say that a trigger's many messages are still being sent, so that nobody else sends them."""
        with self._reaching:
            now = self.now_ms()
            self.client.zadd(self.keys.named(job, "outbox")[0], {f"{job}|{trigger}": now}, xx=True)

    def note_outbox(self, job: str, trigger: str) -> None:
        """Note that what a trigger names must be sent."""
        with self._reaching:
            self.client.zadd(self.keys.named(job, "outbox")[0], {f"{job}|{trigger}": self.now_ms()})

    def note_event(self, job: str, event: str, step: str = "", detail: str = "") -> None:
        """Add an event to a job's stream."""
        with self._reaching:
            fields = {"event": event, "step": step, "detail": detail}
            self.client.xadd(self.keys.named(job, "e")[0], fields, maxlen=1000, approximate=True)

    def note_alert(
        self, message: str, *, job: str = "", alert: str = "message", severity: str = "info"
    ) -> None:
        """Add an alert to the stream of alerts."""
        fields = {"job": job, "alert": alert, "severity": severity, "message": message}
        with self._reaching:
            self.client.xadd(self.keys.named(job, "alerts")[0], fields, maxlen=1000, approximate=True)

    def note_probe(self, queue: str, sent_ms: int) -> None:
        """Note that a probe came back from its queue."""
        with self._reaching:
            self.client.zadd(self.keys.probes, {queue: sent_ms}, gt=True)

    def due(self, shard: int, limit: int = 500) -> list[str]:
        """Move due timers to the outbox; returns them as ``job|=step`` or ``job|!deadline``."""
        names = [self.keys.index(shard, name) for name in ("timers", "outbox")]
        return self._run("due", names, [limit])

    @property
    def shards(self) -> range:
        return range(SHARDS)


_LEGAL = {
    "cancelled": "received, processing or paused",
    "paused": "processing",
    "resumed": "paused",
    "retried": "failed or cancelled",
}


def _flags_json(flags: Mapping[str, Flag]) -> str:
    """Return flags as JSON, without their time: the script writes Redis' own."""
    return str(dumps({name: {**asdict(flag), "at_ms": 0} for name, flag in flags.items()}))
