"""The scripts of streams, driven by hand: what no run of real workers would try."""

from __future__ import annotations

import random
from typing import Any

import pytest
from kombu.utils.json import dumps, loads

from coordinator.batch import beginning
from coordinator.plan import Plan, PlannedStep
from coordinator.settings import Settings
from coordinator.sources import Opened
from coordinator.state import StateManager
from coordinator.states import State
from coordinator.stream import Stream
from tests.flows import add
from tests.integration.by_hand import open_stream

JOB, OWNER = "by-hand", PlannedStep("0", "coordinator.each", follow=(("end",),))


class Hand:
    """Plays all workers: takes any step in flight, and does what a batch would do."""

    def __init__(
        self, state: StateManager, items: int, limits: dict[str, Any], chance: random.Random
    ) -> None:
        self.state, self.items, self.chance = state, items, chance
        self.read = self.steps = 0
        opened = Opened({"range": [0, items, 1]})
        if limits.pop("by_page"):
            opened.total = None
        each = {"step": {"task": "any"}, "source": opened.source, "allow_failed": 0, **limits}
        fields = {"kind": "any", "receipt": "r", "total": 1, "params": "{}"}
        state.submit(JOB, State.PROCESSING, fields, plan=Plan((OWNER,), {}, "0"))
        attempt = state.begin(JOB, OWNER, "w#0")[1]
        stream = Stream.under(OWNER, each)
        state.open_stream(JOB, "0", attempt, stream, beginning(each, opened, attempt))

    def step(self) -> None:
        """Run one of the steps in flight, and finish it twice."""
        steps = self.state.fragments(JOB)["0"].steps
        assert steps, "a job that has not ended has a frontier"
        step = self.chance.choice(steps)
        self.steps += 1
        answer = self.state.begin(JOB, step, f"w#{self.steps}")
        if answer[0] == "stopped":
            self.state.resume(JOB)
            return
        share = loads(answer[7])
        do = {"items": self.batch, "page": self.page, "merge": self.merge}[share[0]]
        value, turn = do(*share[1:])
        if self.chance.random() < 0.05:
            self.state.pause(JOB)
        finish = [JOB, step.key, answer[1], dumps([value, 1, 1, 1, "w"]), step.follow, dumps(turn)]
        assert self.state.finish(*finish)[0] == "recorded"
        assert self.state.finish(*finish)[0] == "already"
        assert self.state.begin(JOB, step, "late#0")[0] == "recorded"

    def batch(self, _batch: int, first: int, count: int, *_: int) -> tuple[Any, dict[str, Any]]:
        item_us = self.chance.choice([10, 1000, 10**5])
        return list(range(first, first + count)), {
            "count": count,
            "failed": 0,
            "failures": {},
            "item_us": item_us,
        }

    def page(self, _page: int, _cursor: str, read: int) -> tuple[Any, dict[str, Any]]:
        assert read == self.read
        count = min(self.chance.choice([0, 1, 7, 50]), self.items - read)
        self.read += count
        return None, {"count": count, "items": "[]", **({"next": "1"} if self.read < self.items else {})}

    def merge(self, level: int, group: int, count: int) -> tuple[Any, dict[str, Any]]:
        parts = self.state.parts(JOB, "0", level - 1, range(100 * group, 100 * group + count))
        return [value for part in parts for value in part], {}


@pytest.mark.parametrize("seed", range(12))
def test_stream_gives_every_item_once_and_in_order_when_steps_end_in_any_order(seed, redis_server):
    """Whatever the sizes, windows, pages and pauses: nothing is lost or doubled, and nothing is left over."""
    chance = random.Random(seed)
    env = {
        "BROKER_URL": redis_server.url(0),
        "REDIS_URL": redis_server.url(1),
        "COORDINATOR_PREFIX": f"h{seed}",
    }
    state = StateManager(Settings.from_env(env))
    items = chance.choice([1, 99, 100, 101, 199, 201])
    limits = {"batch": chance.choice([0, 1, 1, 3]), "window": chance.choice([1, 2, 10, 150])}
    limits |= {"by_page": chance.random() < 0.5, **({"combine": {}} if chance.random() < 0.8 else {})}
    hand = Hand(state, items, dict(limits), chance)

    while state.state(JOB) != State.SUCCEEDED:
        hand.step()

    assert state.result(JOB) == list(range(items))
    status = state.status(JOB)
    assert status.steps_done == status.steps_total == items + 1
    pages = [name for name in state.client.hkeys(state.keys.named(JOB, "s")[0]) if b"@" in name]
    assert pages == []
    left = state.client.hlen(state.keys.named(JOB, "v")[0])
    assert left == 0 if "combine" in limits else left > 0


def test_batches_fill_their_page_when_more_pages_follow(hand):
    """The end of a page is not that of the items: batches stay at 100 ms of work until it is near."""
    job = hand(add.s(1, 1))
    open_stream(job, "0", None, batch=0, window=1)
    shares = job.state.keys.named(JOB, "s")[0]
    batches = pages = 0
    while job.state.state(JOB) != State.SUCCEEDED:
        for key in job.frontier:
            share = loads(job.state.client.hget(shares, key))
            if share[0] == "page":
                pages += 1
                turn = {"count": 1000, "items": "[]", **({"next": "1"} if pages < 10 else {})}
            else:
                batches += 1
                turn = {"count": share[3], "failed": 0, "failures": {}, "item_us": 100}
            assert job.end(key, job.begin(key), dumps(turn)) == "recorded"

    assert batches < 40
