"""The same kills on plain Celery canvas, for comparison: what comes of each is counted, never judged.

These tests fail only where the measurement itself breaks: where a job that nothing is done to
does not give its value.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.faults.conftest import points_to_try
from tests.faults.crash_points import BOARD_VARIABLE, Board
from tests.faults.figures import LEFT, PLAIN, TALLY, tell
from tests.faults.ledger import HEADS, Case, Ledger, Tried
from tests.faults.plain import jobs
from tests.waiting import PATIENCE, wait_until

#: A job is looked at as hung when nothing of it has changed for so long; a lost child is seen within 5 s.
STILL_S = 7 * PATIENCE
LONGEST_S = 90 * PATIENCE
#: hung; failed with an error; ended with a wrong value; body or last step run twice; right.
OUTCOMES = ("hung", "failed", "wrong", "twice", "right")
LAST_STEPS = ("merge", "publish")


class Plain:
    """One worker on plain Celery, and what is seen of its jobs from outside."""

    def __init__(
        self, app: Any, victim: str, worker: Any, board: Board, rabbitmq: Any, results: redis.Redis
    ) -> None:
        self._app = app
        self._victim = victim
        self._stored = results
        self._worker = worker
        self._board = board
        self._rabbitmq = rabbitmq

    def run(self, path: Path, call: int, when: int) -> str:
        """Run one job with a kill at one call; return what came of it: see ``OUTCOMES``."""
        self._revive()
        self._board.arm(call, when, self._victim)
        last = jobs.canvas(self._app, str(path)).apply_async().id
        seen, changed_at = None, time.monotonic()
        ends = time.monotonic() + LONGEST_S

        def is_over() -> bool:
            nonlocal seen, changed_at
            self._revive()
            now = (lines(path), self._stored.dbsize())
            if now != seen:
                seen, changed_at = now, time.monotonic()
            is_still = time.monotonic() - changed_at > STILL_S
            # Its value last: it may come while a worker is being started.
            has_stopped = is_still and (not self._has_messages() or time.monotonic() > ends)
            return has_stopped or self._value(last) is not None

        wait_until(is_over, timeout_s=2 * LONGEST_S, what="the job to end or to stand still")
        if (value := self._value(last)) is None:
            return "failed" if self._has_failed() else "hung"
        self._let_settle()
        if value != jobs.VALUE:
            return "wrong"
        return "twice" if any(count > 1 for count in last_runs(path).values()) else "right"

    def _value(self, task_id: str) -> Any:
        text = self._stored.get(f"celery-task-meta-{task_id}")
        return None if text is None else json.loads(text)["result"]

    def _has_failed(self) -> bool:
        texts = [self._stored.get(key) for key in self._stored.scan_iter("celery-task-meta-*")]
        return any(json.loads(text)["status"] == "FAILURE" for text in texts if text)

    def _has_messages(self) -> bool:
        """Whether a message of the job waits in the queue or is held, unacknowledged, by a worker."""
        listed = self._rabbitmq.ctl("list_queues", "name", "messages")
        rows = [line.split() for line in listed.splitlines()]
        return any(row[0] == self._app.conf.task_default_queue and row[1] != "0" for row in rows)

    def _let_settle(self) -> None:
        """Wait for a late second run: until a kill after the end was repaired and no message is left."""

        def is_settled() -> bool:
            self._revive()
            return not self._has_messages()

        if self._board.kills:
            wait_until(is_settled, timeout_s=30, pause_s=0.3, what="an empty queue")

    def _revive(self) -> None:
        """Start the worker again where the whole of it was killed."""
        process = self._worker.process.popen
        if self._board.kills and process.poll() is not None:
            self._worker.kill()
            self._worker.start()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def last_runs(path: Path) -> Counter[str]:
    """Return how often the body and the last step ran."""
    names = [line.split()[0] for line in lines(path)]
    return Counter(name for name in names if name in LAST_STEPS)


@pytest.mark.parametrize("victim", ["child", "worker"])
def test_plain_canvas_is_counted_when_its_worker_is_killed_at_any_call(
    victim, services, start_worker, rabbitmq, redis_server, board_path, tmp_path, request
):
    """For each call: hung, body or last step run twice, or right. A row of the table, not a verdict."""
    if services.kind != "rabbitmq":
        pytest.skip("the comparison is made on RabbitMQ")
    board = Board(board_path, create=True)
    queue = services.env["COORDINATOR_QUEUE"]
    redis_url = redis_server.url(5)
    env = {BOARD_VARIABLE: str(board_path), "REDIS_URL": redis_url}
    worker = start_worker(env={**env, jobs.QUEUE_VARIABLE: queue}, app="tests.faults.plain.jobs")
    app = jobs.make_app(services.broker_url, "", queue)
    with redis.Redis.from_url(redis_url) as results, app:
        plain = Plain(app, victim, worker, board, rabbitmq, results)
        for name in ("warm", "clean"):
            assert plain.run(tmp_path / name, 0, 0) == "right", "plain Celery without a kill"
        calls = board.calls
        option = request.config.getoption
        ledger = Ledger(Path(option("--results")) if option("--results") else None)
        case = Case("rabbitmq", "plain Celery: same job", victim)
        ends = time.monotonic() + 60 * option("--minutes")
        points = points_to_try(calls, every=option("--every-point"))
        for call, when in points:
            if (case, call, when) not in ledger.rows and time.monotonic() < ends:
                ledger.add(tried(plain, case, call, when, tmp_path / f"{call}-{when}"))
                results.flushdb()
    rows = [row for row in ledger.of(case) if (row.call, row.when) in points]
    _tell(case, rows, calls)
    if len(rows) < len(points):
        LEFT.append(case)
        pytest.skip(f"time was up: {len(points) - len(rows)} points are left for the next run")


def tried(plain: Plain, case: Case, call: int, when: int, path: Path) -> Tried:
    """Try one point; the report says whether a result that was stored was computed again."""
    started = time.monotonic()
    outcome = plain.run(path, call, when)
    ran = lines(path)
    again = max(Counter(line.split()[0] for line in ran).values(), default=0) > 1
    stored_again = "stored, computed again" if any(line.endswith(" again") for line in ran) else ""
    return Tried(case, call, when, outcome, again, round(time.monotonic() - started, 2), stored_again)


def _tell(case: Case, rows: list[Tried], calls: int) -> None:
    found = Counter(row.verdict for row in rows)
    names = ("tried", *HEADS[3:])
    figures = (
        len(rows),
        found["hung"],
        sum(bool(row.report) for row in rows),
        found["wrong"] + found["failed"],
        sum(row.ran_again for row in rows),
    )
    TALLY[case.shape, case.victim] = Counter(dict(zip(names, figures, strict=True)))
    counts = ", ".join(f"{found[outcome]} {outcome}" for outcome in OUTCOMES)
    tell(
        PLAIN,
        f"validate → chord of 4 → publish, {case.victim} killed at {len(rows)} of "
        f"{2 * calls} places: {counts} (twice: its body or last step)",
    )
