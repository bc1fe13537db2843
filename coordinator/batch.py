"""``Batch``: a step of a stream, which runs some of its items, reads its next page, or merges parts.

Owns the loop over items within one message. Invariant: a batch is recorded as a
whole, together with what is handed out next; a batch that was killed runs again
from its first item. An item is tried again in place, as often as its task allows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from celery import Celery, Signature
from celery.app.task import Context
from celery.exceptions import Ignore, NotRegistered, Reject, Retry, SoftTimeLimitExceeded
from kombu.utils.json import dumps, loads

from coordinator.attempt import Attempt, Replaced, Streamed, was_told_to_stop
from coordinator.canvas import refuse_unfit
from coordinator.dispatcher import HEADER
from coordinator.errors import BatutaError, JobNotFound, StateUnreachable, TooManyFailed
from coordinator.plan import prefix_of, with_defaults
from coordinator.sources import Opened, items_of
from coordinator.state import parse_step_id, step_id
from coordinator.step import Step
from coordinator.stream import BATCH, FAN_IN, MOST_ITEMS, MOST_VALUES, WINDOW, Stream

#: An item waits in its batch before it is tried again: at most so long, and its batch with it.
LONGEST_PAUSE_S = 1.0
#: How often a batch looks whether its job was cancelled.
LOOKED_S = 0.5
#: Failures that one batch lists.
MOST_LISTED = 100


@dataclass
class Yield:
    """What came of a stream's step: the value to record, and what the stream must know."""

    value: Any = None
    turn: dict[str, Any] = field(default_factory=dict)  # see lua/stream.lua

    def __repr__(self) -> str:
        return f"{self.turn.get('count', 1)} items"


class Call:
    """A task of the user's, to be called many times within one message."""

    def __init__(self, app: Celery, sig: Mapping[str, Any], request: Context) -> None:
        self._task = app.tasks.get(sig["task"])
        if self._task is None:
            raise NotRegistered(sig["task"])
        self._args, self._kwargs = tuple(sig.get("args") or ()), dict(sig.get("kwargs") or {})
        self._request = request
        self._is_immutable = bool(sig.get("immutable"))
        self.label = sig["task"].rpartition(".")[2]
        # Only our own tasks retry within a message: Celery's would publish one.
        own = (
            {HEADER: getattr(request, HEADER), "called_directly": False}
            if isinstance(self._task, Step)
            else {}
        )
        self._context = Context(
            root_id=request.root_id,
            hostname=request.hostname,
            delivery_info=request.delivery_info,
            fence=_item_fence(request),
            retries=0,
            **own,
        )

    def __call__(self, value: Any, task_id: str) -> Any:
        """Call the task with a value before its own arguments; tries again where it asks for it."""
        args = self._args if self._is_immutable else (value, *self._args)
        task, context = self._task, self._context
        run = task.body if isinstance(task, Step) else task.run
        context.id, context.args, context.kwargs, context.retries = task_id, args, self._kwargs, 0
        task.request_stack.push(context)
        try:
            while True:
                try:
                    return run(*args, **self._kwargs)
                except Retry as again:
                    if context.called_directly:
                        raise again.exc or again from again
                    context.retries += 1
                    time.sleep(min(max(float(again.when or 0), 0), LONGEST_PAUSE_S))
        except (Replaced, Streamed, Ignore, Reject) as error:
            raise BatutaError(
                f"an item in a batch must end with a value or an error, got {type(error).__name__}; "
                "leave out each()'s batch, window, combine, allow_failed and over"
            ) from error
        finally:
            task.request_stack.pop()
            if was_told_to_stop(context):  # an item that gives half a value makes one of its batch
                self._request.cancelled_asked = context.cancelled_asked


class Batch(Step):
    """The base of the task ``coordinator.batch``."""

    abstract = True

    def record(self, attempt: Attempt, value: Any) -> list[str]:
        """Record what came of a stream's step, and let the stream go on."""
        record = attempt.record_of(value.value)
        answer = attempt.state.finish(
            attempt.job, attempt.step.key, attempt.number, record, attempt.step.follow, dumps(value.turn)
        )
        if answer[0] == "over":
            first = next(iter(value.turn["failures"].values()), "{}")
            raise TooManyFailed(
                f"{answer[1]} items failed, {answer[2]} may; one of them: {loads(first).get('message')}"
            )
        return answer


@contextmanager
def reading() -> Iterator[None]:
    """Let the message come back where what it needs can't be read: *begin* then says what holds."""
    try:
        yield
    except (StateUnreachable, JobNotFound) as error:
        raise Reject(str(error), requeue=True) from error


class Running:
    """One execution of a stream's step."""

    def __init__(self, task: Step) -> None:
        self._task = task
        self._state = task.parts.state
        header = getattr(task.request, HEADER)
        self._job, self._owner = header["job"], prefix_of(header["key"])[:-1]
        self._share: list[Any] = loads(task.request.share)

        with reading():
            plan = self._state.plan(self._job, f"{self._owner}/")
        assert isinstance(plan, Stream), "only the steps of streams are batches"
        self._each = plan.each

    def run(self) -> Yield:
        return {"items": self._items, "page": self._page, "merge": self._merge}[self._share[0]]()

    def _items(self) -> Yield:
        first = self._share[2]
        with reading():
            items = items_of(self._state, self._job, self._owner, self._each["source"], self._share)
        call = self._call("step")
        values: list[Any] = []
        failures: dict[str, str] = {}
        failed, may_fail = 0, self._each["allow_failed"] > 0
        began = looked = time.perf_counter()
        for index, item in enumerate(items, first):
            try:
                values.append(call(item, step_id(self._job, self._owner, f"{call.label}[{index}]")))
            except SoftTimeLimitExceeded:  # that of the whole message, whichever item it met
                raise
            except Exception as error:
                if not may_fail:
                    error.add_note(f"at item {index}")
                    raise
                failed += 1
                if len(failures) < MOST_LISTED:
                    failures[str(index)] = dumps({"type": type(error).__name__, "message": str(error)})
            if time.perf_counter() - looked > LOOKED_S:
                looked = time.perf_counter()
                self._stop_if_cancelled()
        item_us = (time.perf_counter() - began) * 1e6 / len(items)
        value = self._combined(values) if "combine" in self._each else values
        turn = {"count": len(items), "failed": failed, "failures": failures, "item_us": round(item_us, 3)}
        return Yield(value, turn)

    def _page(self) -> Yield:
        _, page, cursor, total = self._share
        call = self._call_of(self._each["source"]["pages"])
        answer = call(loads(cursor), step_id(self._job, self._owner, f"{call.label}[{page}]"))
        if not isinstance(answer, dict) or not isinstance(answer.get("items"), list):
            raise BatutaError(
                f'each: expected {{"items": […], "next": …}} from {self._each["source"]["pages"]["task"]}, '
                f"got {type(answer).__name__}"
            )
        refuse_too_many(total + len(answer["items"]), self._each)
        turn = {"count": len(answer["items"]), "items": dumps(answer["items"])}
        if answer.get("next") is not None:
            turn["next"] = dumps(answer["next"])
        return Yield(None, turn)

    def _merge(self) -> Yield:
        _, level, group, count = self._share
        indices = range(FAN_IN * group, FAN_IN * group + count)
        with reading():
            parts = list(self._state.parts(self._job, self._owner, level - 1, indices))
        return Yield(parts[0] if count == 1 else self._combined(parts))

    def _combined(self, values: list[Any]) -> Any:
        return self._call("combine")(values, self._task.request.id)

    def _call(self, name: str) -> Call:
        return self._call_of(self._each[name])

    def _call_of(self, sig: Mapping[str, Any]) -> Call:
        return Call(self._task.app, sig, self._task.request)

    def _stop_if_cancelled(self) -> None:
        if self._task.cancelled:
            raise Reject("the job was cancelled", requeue=True)  # delivered again, it is told so and dropped


def _item_fence(request: Context) -> int:
    """Return a number that grows with every attempt at an item, also when its stream was cut anew."""
    step = parse_step_id(request.id)
    number = step[1].rpartition("/")[2] if step else 0
    return (int(number) << 20) + int(request.fence)


def open_stream(task: Step, given: Any, step: dict[str, Any], batches: dict[str, Any]) -> Any:
    """Expand a step into a stream; returns its value where there is no item."""
    opened = Opened(given)
    refuse_unfit(Signature.from_dict(step))  # where the step before names a source, nobody has looked yet
    combine = batches.get("combine")
    if opened.total == 0:
        return Call(task.app, combine, task.request)([], task.request.id) if combine else []
    refuse_too_many(opened.total or 0, batches)
    settings = task.parts.settings

    def opens(attempt: Attempt) -> list[str]:
        source = {**opened.source, "list": attempt.number}
        defaults = attempt.state.plan(attempt.job, prefix_of(attempt.step.key)).defaults
        own = {**step, "options": with_defaults(step.get("options"), defaults)}
        stream = Stream.under(attempt.step, {**batches, "step": own, "source": source})
        where = (attempt.job, attempt.step.key, attempt.number)
        if opened.pages:
            attempt.state.keep_pages(*where, opened.pages)
        fields = beginning(stream.each, opened, attempt.number)
        if "combine" not in batches and not settings.blob_url:
            fields["room"] = settings.result_limit_bytes // 2  # results differ in size
        return attempt.state.open_stream(*where, stream, fields)

    raise Streamed(opens)


def refuse_too_many(total: int, each: Mapping[str, Any]) -> None:
    """Refuse more items than can be counted, or values than a join can hold."""
    if total > MOST_ITEMS:
        raise BatutaError(f"each: expected at most {MOST_ITEMS:,} items, got {total:,}")
    if "combine" not in each and total > MOST_VALUES:
        raise BatutaError(
            f"each: expected at most {MOST_VALUES:,} items without combine, got {total:,}; "
            "give combine=, a task that makes one value of a list of them"
        )


def beginning(each: Mapping[str, Any], opened: Opened, attempt: int) -> dict[str, Any]:
    """Return the fields with which a stream begins: see lua/stream.lua."""
    is_paged = opened.total is None
    fields = {
        "total": opened.total or 0,
        "next": 0,
        "done": 0,
        "failed": 0,
        "batches": 0,
        "flying": 0,
        "open": 0,
        "largest": 1,
        "window": each.get("window", WINDOW),
        "batch": each["batch"],
        "share": each["allow_failed"],
        "combine": 1 if "combine" in each else 0,
        "page": -1 if is_paged else 0,
        "starts": 0,
        "ends": opened.total or 0,
    }
    if is_paged:
        fields |= {"more": 1, "reading": 0, "pages": 0, "cursor": dumps(None)}
    if opened.pages:
        fields["list"] = attempt
    return fields


def register(app: Celery) -> None:
    """Register the task of batches on an app."""

    @app.task(name=BATCH, base=Batch, bind=True, shared=False)
    def batch(self: Step, task: dict[str, Any]) -> Yield:  # noqa: ARG001 - for people and routes
        return Running(self).run()
