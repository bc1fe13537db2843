"""A step's life in Redis, and the outbox: one Lua script a transition.

Owns every write that an attempt makes. Invariant: each carries its fence, the
attempt's number, and is refused when a later attempt has begun. What the words
that come back mean stands in the scripts.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

from kombu.utils.json import dumps

from coordinator.plan import Follow, Plan, PlannedStep
from coordinator.settings import Settings
from coordinator.state.connection import Scripts, escaped
from coordinator.state.keys import SHARDS, Keys
from coordinator.state.reaching import reaching
from coordinator.state.views import Views
from coordinator.states import Flag

CAME_BACK_EMPTY = (
    "Redis came back empty: every job that it held is forgotten, running steps included; "
    "submit again what must run, and look at its persistence (appendonly yes)"
)
#: Events kept in a shard's stream; so in ``lua/prelude.lua``.
FEED_LENGTH = 2000


class Overdue(NamedTuple):
    """Members of a shard's indexes that are late, oldest first."""

    timers: list[str]
    leases: list[str]
    outbox: list[str]


class Steps(Views):
    """Leases, records and the outbox."""

    def __init__(self, settings: Settings) -> None:
        scripts = Scripts(settings.redis_url)
        super().__init__(scripts.client, Keys(settings.prefix))
        self._run = scripts
        self._reaching = reaching(settings.redis_url)
        self._lease_ms = int(settings.lease_s * 1000)
        self._retention_s = settings.retention_s
        self._max_attempts = settings.max_attempts

    # -- a step's life ------------------------------------------------------

    def begin(
        self, job: str, step: PlannedStep, token: str, *, record_of: str = "", want_plan: bool = False
    ) -> list[Any]:
        """Take the right to run a step, or learn why not: see ``lua/begin.lua``."""
        triggers = [part[1] for part in step.follow if part[0] == "next"]
        return self._run(
            "begin",
            self.keys.named(job, "m r a g p leases outbox timers s"),
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

    def finish(
        self, job: str, key: str, attempt: int, record: str, follow: Follow, turn: str = ""
    ) -> list[str]:
        """Record a result: see ``lua/finish.lua``."""
        return self._run(
            "finish",
            self.keys.named(job, "m r a b e p f g x leases outbox active timers s v"),
            [job, key, attempt, record, dumps(follow), self._retention_s, self.keys.channel(job), turn],
        )

    def decide(
        self, job: str, key: str, attempt: int, record: str, trigger: str, flags: Mapping[str, Flag]
    ) -> list[str]:
        """Write the flags and decide between processing and rejected: see ``lua/gate.lua``."""
        reasons = "; ".join(f"{name}: {flag.reason}" for name, flag in flags.items() if not flag.valid)
        return self._run(
            "gate",
            self.keys.named(job, "m r a f e p leases outbox active timers alerts x g b s v"),
            [
                job,
                key,
                attempt,
                record,
                trigger,
                flags_json(flags),
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
                self.keys.named(job, "m r a g leases outbox active b s"),
                [job, key, attempt, plan.dumps(), plan.size, plan.root_trigger],
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
        epoch: str = "",
        phase: str = "",
        alert: str = "failed",
    ) -> str:
        """Fail a step for good: by its attempt, as the live attempt of a worker, or where none has begun by
        what its message says of epoch and phase: see ``lua/fail.lua``."""
        lanes, errbacks = self.around(job, key)
        message = f"{error['step']}: {error['type']}: {error['message']}"
        return str(
            self._run(
                "fail",
                self.keys.named(job, "m r a x e p f g b leases active timers alerts outbox s v"),
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
                    dumps(lanes),
                    dumps(errbacks),
                    epoch,
                    phase,
                ],
            )[0]
        )

    def postpone(self, job: str, steps: Sequence[PlannedStep], *, have_waited: bool = False) -> set[str]:
        """Set the timers of steps that are to run later; returns the keys whose time has come."""
        args: list[Any] = []
        for step in steps:
            options = step.options or {}
            delay_ms = round(float(options.get("countdown") or 0) * 1000)
            when = ("at", options["eta_ms"]) if "eta_ms" in options else ("in", delay_ms)
            args += [step.key, *(("now", 0) if have_waited else when)]
        return set(self._run("postpone", self.keys.named(job, "r a timers m b"), [job, *args]))

    def defer(self, job: str, key: str, attempt: int, delay_ms: int, message: str) -> str:
        """Give the lease back and set a timer: see ``lua/defer.lua``."""
        keys = self.keys.named(job, "m r a e leases timers active")
        return str(self._run("defer", keys, [job, key, attempt, delay_ms, message])[0])

    def release(self, job: str, key: str, why: str, owner: str = "") -> str:
        """Take a lease back, ``lost`` or ``expired``: see ``lua/release.lua``."""
        return str(self._run("release", self.keys.named(job, "a e leases outbox"), [job, key, why, owner])[0])

    def renew(self, job: str, key: str, owner: str) -> list[str]:
        """Lengthen a running step's lease; returns ``[renewed|lost, state of the job]``."""
        return self._run("renew", self.keys.named(job, "m a leases r"), [job, key, owner, self._lease_ms])

    # -- the outbox ---------------------------------------------------------

    def sent(self, job: str, triggers: Sequence[str], epoch: str, since: str = "") -> None:
        """Take triggers off the outbox, for what they name was sent and confirmed: see ``lua/sent.lua``.

        Args:
            epoch: of the job, as the sender knew it.
            since: only what was noted then; whenever it was if it is ''.
        """
        self._run("sent", self.keys.named(job, "m outbox"), [job, epoch, since, *triggers])

    def noted_at(self, job: str, trigger: str) -> str:
        """Return when a trigger was put in the outbox (ms since 1970, by Redis), 0 if it is not there."""
        key, member = self.keys.named(job, "outbox")[0], f"{job}|{trigger}"
        at = self._run.keeping(lambda client: client.zscore(key, member))
        return "0" if at is None else repr(at)  # to the microsecond

    def called(self, job: str, triggers: list[str]) -> None:
        """Note that error callbacks were sent: see ``lua/called.lua``."""
        self._run("called", self.keys.named(job, "m r x outbox"), [job, self._lease_ms, *triggers])

    def touch(self, job: str, *triggers: str, since: str = "") -> str:
        """Say that the many messages of triggers are still being sent, so that nobody else sends them.

        Args:
            since: only entries that were noted then; any if it is ''.

        Returns: the time that they have now, '' if none is there.
        """
        return str(self._run("stamp", self.keys.named(job, "outbox"), [job, since, *triggers])[0])

    def note_outbox(self, job: str, *triggers: str) -> str:
        """Note that what triggers name must be sent; returns when it was noted."""
        return str(self._run("stamp", self.keys.named(job, "outbox"), [job, "add", *triggers])[0])

    def note_event(self, job: str, event: str, step: str = "", detail: str = "") -> None:
        """Add an event to a job's stream."""
        with self._reaching:
            fields = {"event": event, "step": step, "detail": detail}
            pipe = self.client.pipeline(transaction=False)
            # Nothing of a job that is kept no longer.
            pipe.xadd(self.keys.named(job, "e")[0], fields, maxlen=1000, approximate=True, nomkstream=True)
            feed = self.keys.named(job, "events")[0]
            pipe.xadd(feed, {"job": job, **fields}, maxlen=FEED_LENGTH, approximate=True)
            pipe.hincrby(self.keys.named(job, "counts")[0], f"event|{event}|")
            pipe.execute()

    def note_alert(
        self, message: str, *, job: str = "", alert: str = "message", severity: str = "info"
    ) -> None:
        """Add an alert to the stream of alerts."""
        fields = {"job": job, "alert": alert, "severity": severity, "message": message}
        with self._reaching:
            pipe = self.client.pipeline(transaction=False)
            pipe.xadd(self.keys.named(job, "alerts")[0], fields, maxlen=1000, approximate=True)
            pipe.hincrby(self.keys.named(job, "counts")[0], f"alert|{alert}|")
            pipe.execute()

    def mark_instance(self, seen: str) -> tuple[str, bool]:
        """Mark this Redis as known; returns its id, and whether it is empty since its id was ``seen``."""
        keys = [self.keys.instance, self.keys.index(0, "alerts")]
        id_, verdict = self._run("mark", keys, [seen, secrets.token_hex(6), CAME_BACK_EMPTY])
        return id_, verdict == "empty"

    def note_probe(self, lane: str, sent_ms: int) -> None:
        """Note that a probe came back from its lane of a queue."""
        with self._reaching:
            self.client.zadd(self.keys.probes, {lane: sent_ms}, gt=True)

    def forget_probes_after(self, now_ms: int) -> None:
        """Forget the probes of a time to come: Redis' clock was set back, and they tell nothing any more."""
        with self._reaching:
            self.client.zremrangebyscore(self.keys.probes, f"({now_ms}", "+inf")

    def due(self, shard: int, limit: int = 500) -> list[str]:
        """Move due timers to the outbox; returns them as ``job|=step`` or ``job|!deadline``."""
        names = [self.keys.index(shard, name) for name in ("timers", "outbox")]
        return self._run("due", names, [limit])

    def overdue(self, left_s: float, limit: int) -> list[Overdue]:
        """Return what each shard holds that is late, in one round trip, by Redis' clock.

        Args:
            left_s: an outbox entry is late after so long.
            limit: so many of each at most.
        """
        now = self.now_ms()
        late = {"timers": now, "leases": now, "outbox": int(now - left_s * 1000)}
        with self._reaching:
            pipe = self.client.pipeline(transaction=False)
            for shard in self.shards:
                for name, until_ms in late.items():
                    pipe.zrangebyscore(self.keys.index(shard, name), "-inf", until_ms, start=0, num=limit)
            found = [[member.decode() for member in members] for members in pipe.execute()]
        return [Overdue(*found[start : start + len(late)]) for start in range(0, len(found), len(late))]

    @property
    def shards(self) -> range:
        return range(SHARDS)


def flags_json(flags: Mapping[str, Flag]) -> str:
    """Return flags as JSON, without their time: the script writes Redis' own."""
    return str(dumps({name: {**asdict(_plain(flag)), "at_ms": 0} for name, flag in flags.items()}))


def _plain(flag: Flag) -> Flag:
    """Return a flag whose reason Lua can read: without lone surrogates, as the names of files may have."""
    return replace(flag, reason=escaped(flag.reason))
