"""``StateManager``: the job's state in Redis, one Lua script a transition.

Owns the transitions of a job. Invariant: a transition is one script, which
refuses what is not legal from the present state and says which state it found.
Reading lives in ``journal.py`` and ``views.py``, what an attempt writes in ``steps.py``;
sending what a transition has made ready is the outbox's.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from kombu.utils.json import dumps

from coordinator.downstream import forgetting
from coordinator.errors import IllegalTransition, JobNotFound
from coordinator.plan import PHASE_CHECK, Plan
from coordinator.state.journal import LOST, OUT
from coordinator.state.plans import FIRST_EPOCH
from coordinator.state.standstills import Standstills
from coordinator.state.steps import flags_json
from coordinator.state.streams import Streams
from coordinator.states import Flag, State


class StateManager(Standstills, Streams):
    """Flags, state and results of jobs, in Redis. Safe to share between threads."""

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
        answer = self._run(
            "submit",
            self.keys.named(job, "m p f e jobs active outbox timers alerts"),
            [
                job,
                state,
                plan.dumps() if plan else "",
                flags_json(flags or {}),
                "" if deadline_ms is None else deadline_ms,
                self._retention_s,
                reason,
                secrets.token_hex(8),
                *pairs,
            ],
        )
        if answer[0] == "created":  # under an id that another job may have had
            self.notice_epoch(job, FIRST_EPOCH)
        return answer

    def cancel(self, job: str, reason: str = "") -> None:
        """Cancel a job: nothing of it starts from now on."""
        keys = self.keys.named(job, "m e active timers p r x g f a b s v")
        self._steer(
            job, "cancelled", "cancel", keys, [job, reason, self._retention_s, self.keys.channel(job)]
        )

    def pause(self, job: str) -> None:
        """Pause a job: running steps finish, none starts."""
        self._steer(job, "paused", "pause", self.keys.named(job, "m e"), [job])

    def resume(self, job: str) -> None:
        """Let a paused job go on. The caller sends the frontier."""
        self._steer(job, "resumed", "resume", self.keys.named(job, "m e active outbox x a"), [job, "resume"])

    def retry(self, job: str) -> None:
        """Let a failed or cancelled job go on from what is recorded. The caller sends the frontier."""
        keys = self.keys.named(job, "m e active outbox x a p r g f b s v leases timers")
        self._steer(job, "retried", "resume", keys, [job, "retry"])

    def retry_from(self, job: str, key: str) -> None:
        """Forget a step of a failed or cancelled job and all that came of it, and let the job go on.

        The caller sends the frontier.

        Raises:
            InvalidRequest: the job has no such step.
        """
        keys = self.keys.named(job, "m e r g a b x active outbox p f s v leases timers")
        answer = ["changed"]
        while answer[0] == "changed":  # a step was recorded, or expanded, meanwhile, or the job went on
            self.state(job)
            retried = self.times_retried(job)  # before the journal
            attempts = self.recorded_attempts(job)
            plan, fragments = self.plan(job), self.fragments(job)
            recorded = {
                step: number if isinstance(number, int) else 0
                for step, number in attempts.items()
                if number != OUT  # those race again by themselves
            }
            lost = {step for step, number in attempts.items() if number == LOST}
            goes = forgetting(key, plan, fragments, recorded, lost, self.begun(job))
            document = {
                "records": {step: recorded.get(step, 0) for step in goes.records | goes.begun},
                "delayed": sorted(goes.delayed),
                "fragments": sorted(goes.fragments),
                "counts": goes.counts,
                "steps": sum(fragments[step].size for step in goes.fragments),
                "checks": any(
                    plan.by_key[step].phase == PHASE_CHECK for step in goes.records & set(plan.by_key)
                ),
            }
            seen = len(attempts) + len(fragments)
            answer = self._steer(job, "retried", "forget", keys, [job, key, seen, dumps(document), retried])

    def complete(self, job: str, epoch: str) -> None:
        """End a job whose every step was recorded while it could not move, if its epoch is still the same."""
        keys = self.keys.named(job, "m e active a b timers p r x g f s v")
        self._run("complete", keys, [job, self._retention_s, self.keys.channel(job), epoch])

    def fail_deadline(self, job: str, message: str) -> bool:
        """Fail a job whose deadline has passed; returns whether it was still moving."""
        error = dumps(
            {"step": "", "task": "", "type": "DeadlineExceeded", "message": message, "traceback": ""}
        )
        keys = self.keys.named(job, "m e active outbox alerts p r x g f a b s v")
        answer = self._run(
            "deadline",
            keys,
            [job, error, message, self._retention_s, self.keys.channel(job), dumps(self.errbacks(job))],
        )
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

    def _steer(self, job: str, done: str, script: str, keys: list[str], args: list[Any]) -> list[Any]:
        answer = self._run(script, keys, [*args, secrets.token_hex(8)])
        if answer[0] == "gone":
            raise JobNotFound(f"no job has the id {job!r}; `list` shows those that exist", job=job)
        if answer[0] == "illegal":
            raise IllegalTransition(
                f"job {job} is {answer[1]}; only {_LEGAL[done]} jobs can be {done}", job=job, state=answer[1]
            )
        return answer


_LEGAL = {
    "cancelled": "received, processing or paused",
    "paused": "processing",
    "resumed": "paused",
    "retried": "failed or cancelled",
}
