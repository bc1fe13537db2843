"""Reading a job back: its state, plan, results, steps and events.

Owns every read of a job's keys. Invariant: reads change nothing, and a record
is what the first successful attempt wrote, for ever. Values larger than the
limit were stored apart and are fetched through ``blobs``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kombu.utils.json import loads

from coordinator import blobs
from coordinator.errors import JobNotFound
from coordinator.plan import Plan, Shape, filled, leaves, prefix_of
from coordinator.state.ending import Ending
from coordinator.state.keys import SHARDS
from coordinator.state.plans import Plans, epoch_of
from coordinator.state.reaching import reaching
from coordinator.state.streamed import Streamed
from coordinator.states import Flag, State, Validation
from coordinator.stream import Stream, plan_of

READ_AT_ONCE = 1000
#: The record of a step whose canvas, put in its place, has ended: its value is that canvas' value.
EXPANDED = "@"
#: Of a step whose race another lane has won; of one whose own lane has failed; of a race that was won, with
#: the number of the lane behind.
LOST, OUT, WON = "!", "-", ">"
#: Of a stream's step that is recorded: its values are parts of its stream's, or merged.
OVER = '[null, 0, 0, 0, ""]'
#: value, attempt, started (ms), runtime (ms), worker; a sixth part says that the value lies apart.
RECORD_LENGTH = 5


class Journal(Plans, Streamed):
    """What is recorded about jobs. Safe to share between threads."""

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
            raise self._not_found(job)
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

    def instance(self) -> dict[str, str]:
        """Return what is known of Redis' memory: ``id``, ``marked``, perhaps ``came_back_empty`` (ms)."""
        found = self.client.hgetall(self.keys.instance)
        return {name.decode(): value.decode() for name, value in found.items()}

    def times_retried(self, job: str) -> str:
        """Return how often a job has gone on after it had failed or been cancelled."""
        return (self.client.hget(self._key(job, "m"), "retried") or b"0").decode()

    def fragments(self, job: str) -> dict[str, Plan]:
        """Return the plans of the steps that put a canvas in their place, by key."""
        found = self.client.hgetall(self._key(job, "g"))
        return self.with_open_steps(job, {key.decode(): plan_of(blob) for key, blob in found.items()})

    def recorded(self, job: str, among: Collection[str] | None = None) -> set[str]:
        """Return the keys of the steps that are recorded: all, or those among a few."""
        if among is None or len(among) > READ_AT_ONCE:
            return {key.decode() for key in self.client.hkeys(self._key(job, "r"))}
        pipe = self.client.pipeline(transaction=False)
        for key in among:
            pipe.hexists(self._key(job, "r"), key)
        with reaching(self.client.url):
            return {key for key, is_there in zip(among, pipe.execute(), strict=True) if is_there}

    def recorded_attempts(self, job: str) -> dict[str, int | str]:
        """Return the attempt that recorded each step, by key, or the mark of one that is out of its race."""
        records = self.client.hgetall(self._key(job, "r"))
        marks: dict[bytes, int | str] = {mark.encode(): mark for mark in (LOST, OUT)}
        return {
            key.decode(): loads(text)[1] if text[:1] == b"[" else marks.get(text, 0)
            for key, text in records.items()
        }

    def is_lost(self, job: str, key: str) -> bool:
        """Whether a step, or one in whose place it stands, is out of its race."""
        parts = key.split("/")
        within = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
        found = self.client.hmget(self._key(job, "r"), within)
        return any(text in (LOST.encode(), OUT.encode()) for text in found)

    def around(self, job: str, key: str) -> tuple[list[list[Any]], list[str]]:
        """Return the lanes that a step races in, innermost first, and the triggers of its error callbacks.

        A lane is its race's key, the number of lanes, its own number, its first step and its last.
        """
        lanes: list[list[Any]] = []
        errbacks: list[str] = []
        self.look_at_epoch(job)
        try:
            while key:
                plan = self.plan(job, prefix_of(key))
                step = plan.by_key.get(key)
                if step is not None:
                    errbacks = errbacks or [f"={name}" for name in step.errbacks]
                    lanes += plan.lanes_of(step)
                key = prefix_of(key)[:-1]
        except JobNotFound:  # its plan is kept no longer
            pass
        return lanes, errbacks

    def errbacks(self, job: str) -> list[str]:
        """Return the triggers of the error callbacks of a job's whole canvas."""
        try:
            return [f"={name}" for name in self.plan(job).errbacks]
        except JobNotFound:
            return []

    def waiting(self, job: str, keys: Sequence[str]) -> set[str]:
        """Return which of the steps wait for a timer."""
        if not keys:
            return set()
        due = self.client.zmscore(self.keys.named(job, "timers")[0], [f"{job}|{key}" for key in keys])
        return {key for key, score in zip(keys, due, strict=True) if score is not None}

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

    def probes_returned(self, lanes: Sequence[str]) -> list[int]:
        """Return, for each lane, when the newest probe that came back from it was sent (ms), or 0."""
        scores = self.client.zmscore(self.keys.probes, lanes) if lanes else []
        return [int(score or 0) for score in scores]

    def outcome(self, job: str, key: str) -> tuple[str, str | None]:
        """Return a step's outcome for Celery: ``succeeded`` with its record, ``failed`` with its error,
        ``running`` (also while what it recorded is still to be followed up), ``pending`` or ``lost``."""
        pipe = self.client.pipeline(transaction=True)
        for letter in "rxa":
            pipe.hget(self._key(job, letter), key)
        pipe.hget(self._key(job, "m"), "epoch")
        record, error, attempt, epoch = pipe.execute()
        self.notice_epoch(job, epoch_of(epoch))
        if record in (LOST.encode(), OUT.encode()):
            return ("failed", error.decode()) if error is not None else ("lost", None)
        if record is not None:
            return ("running" if self._has_outbox(job, key) else "succeeded"), record.decode()
        if error is not None:
            return "failed", error.decode()
        if attempt is None and self.is_over(job, key):
            return "succeeded", OVER
        return ("running" if attempt is not None and loads(attempt)[5] else "pending"), None

    @contextmanager
    def ending(self, job: str) -> Iterator[Ending]:
        """Listen for the word that a job has ended."""
        with self.client.pubsub() as listener, reaching(self.client.url):
            listener.subscribe(self.keys.channel(job))
            yield Ending(listener)

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
        while True:
            if text is None:
                raise JobNotFound(f"job {job} has no result of step {key} any more", job=job)
            text = text.decode() if isinstance(text, bytes) else text
            if text == EXPANDED and isinstance(self.plan(job, f"{key}/"), Stream):
                return self.stream_value(job, key)
            shape = self._in_place(job, key, text)
            if shape is None:
                break
            if not isinstance(shape, str):
                return self.value(job, shape)
            # A loop: steps that replaced one another may be more than Python's stack holds.
            key, text = shape, self.client.hget(self._key(job, "r"), shape)
        if text in (LOST, OUT):
            raise JobNotFound(f"job {job} has no result of step {key}: it lost its race", job=job)
        record = loads(text)
        return blobs.fetch(record[0]) if len(record) > RECORD_LENGTH else record[0]

    def result(self, job: str) -> Any:
        """Return the value of a job that succeeded."""
        self.look_at_epoch(job)
        return self.value(job, self.plan(job).result)

    # -- private ------------------------------------------------------------

    def _in_place(self, job: str, key: str, record: str) -> Shape | None:
        """Return the shape of what a step's value comes from; None where the record has one of its own."""
        if record == EXPANDED:
            return self.plan(job, f"{key}/").result
        if not record.startswith(WON):
            return None
        lane = loads(record[len(WON) :])
        if isinstance(lane, int):
            return self.plan(job, prefix_of(key)).lane_values[key][lane]
        shape: Shape = lane  # of a job that an older version submitted
        return shape

    def _key(self, job: str, letter: str) -> str:
        return self.keys.named(job, letter)[0]

    def _has_outbox(self, job: str, key: str) -> bool:
        """Whether anything that a step's record made ready may still have to be sent."""
        step = self.plan(job, prefix_of(key)).by_key[key]
        return bool(self.noted(job, {part[1] for part in step.follow if part[0] == "next"}))

    def _not_found(self, job: str) -> JobNotFound:
        lost_ms = self.instance().get("came_back_empty")
        hint = " (Redis came back empty: see `doctor`)" if lost_ms else ""
        return JobNotFound(f"no job has the id {job!r}; `list` shows those that exist{hint}", job=job)

    def _attempts(self, job: str) -> dict[str, list[Any]]:
        return {key.decode(): loads(text) for key, text in self.client.hgetall(self._key(job, "a")).items()}


def _escaped(prefix: str) -> str:
    return "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in prefix)
