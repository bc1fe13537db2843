"""The Celery tasks that Batuta itself runs: the gate, ``each``, the probe, and error callbacks.

Owns their bodies and their registration. Invariant: they are steps like any
other, so they survive what any step survives.
"""

from __future__ import annotations

from typing import Any

from celery import Celery, Signature, group

from coordinator import batch, bench, chaos, errback
from coordinator.alerting import delivery
from coordinator.attempt import Attempt
from coordinator.canvas import EACH
from coordinator.step import Step
from coordinator.validation import GATE, verdicts
from coordinator.watermark import PROBE

#: Of an each over a source that is no list, where no limits are given.
UNLIMITED = {"batch": 0, "allow_failed": 0}


class Gate(Step):
    """The body of a kind's checks: its result is recorded together with the flags and the verdict."""

    abstract = True

    def record(self, attempt: Attempt, value: Any) -> list[str]:
        kwargs = self.request.kwargs
        flags = verdicts(kwargs["checks"], self.request.args[0], kwargs["digest"], kwargs["version"])
        trigger = next(part[1] for part in attempt.step.follow if part[0] == "next")
        answer = attempt.state.decide(
            attempt.job, attempt.step.key, attempt.number, attempt.record_of(value), trigger, flags
        )
        if not all(flag.valid for flag in flags.values()):
            reasons = "; ".join(f"{flag.check}: {flag.reason}" for flag in flags.values() if not flag.valid)
            self.parts.notifier.log(
                f"job {attempt.job} was rejected: {reasons}", job=attempt.job, severity="warning"
            )
        return answer


def with_item(step: dict[str, Any], item: Any) -> Signature:
    """Return the signature of an ``each`` with an item before its own arguments."""
    signature = Signature.from_dict(step)
    if not signature.immutable:  # clone((item,)) would drop it where the signature is a chain or a group
        signature["args"] = (item, *(signature.args or ()))
    return signature


def register(app: Celery) -> None:
    """Register the built-in tasks on an app."""
    delivery.register(app)
    chaos.register(app)
    bench.register(app)

    @app.task(name=GATE, base=Gate, shared=False)
    def gate(answers: list[Any], checks: list[str], digest: str, version: str) -> dict[str, bool]:
        flags = verdicts(checks, answers, digest, version)
        return {name: flag.valid for name, flag in flags.items()}

    batch.register(app)

    @app.task(name=EACH, bind=True, shared=False)
    def each(
        self: Step, items: Any = None, *, step: dict[str, Any], batches: Any = None, over: Any = None
    ) -> Any:
        items = items if over is None else over
        if batches is not None or not isinstance(items, list):
            return batch.open_stream(self, items, step, batches or UNLIMITED)
        if not items:
            return []
        return self.replace(group(with_item(step, item) for item in items))

    errback.register(app)

    @app.task(name=PROBE, bind=True, shared=False, ignore_result=True)
    def probe(self: Step, lane: str, sent_ms: int) -> None:
        self.parts.state.note_probe(lane, sent_ms)
