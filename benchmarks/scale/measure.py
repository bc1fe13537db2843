"""What one step costs workers, Redis and RabbitMQ, and how many go through: real workers, no-op tasks.

Run it as ``python -m benchmarks.scale.measure ["one solo" "one solo, quorum queue" …]``; a round more is
kept in ``benchmarks/results/scale.json`` for each shape. Windows: *submit*, jobs of one step, one after the
other, and *publish*, a large header, both with no worker alive; *join*, the header's steps on the workers;
*hop*, chains side by side, each step of which sends the next; *nap*, a header of steps of 10 ms; *idle*,
workers with nothing to do.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from celery import Signature, chain, chord

from benchmarks.kept import RESULTS
from benchmarks.scale.demand import Meter, between
from benchmarks.scale.shapes import ELSEWHERE, SHAPES, workers_of
from benchmarks.servers import Servers, private_servers
from coordinator import Coordinator, Settings
from coordinator.app import make_app
from tests.servers import RabbitMQ, Redis, RedisCluster, running

KEPT = RESULTS / "scale.json"
WIDE, CHAINS, LENGTH, NAPS, SUBMITS, IDLE_S = 4000, 60, 30, 1000, 200, 5.0
HEAD, TAIL = 200, 200  # steps at both ends that are not counted: not all workers run then
REDUCTIONS = """
{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)),
Process = case amqqueue:get_pid(Q) of {{Name, _}} -> whereis(Name); Pid -> Pid end,
{{reductions, R}} = erlang:process_info(Process, reductions),
{{Total, _}} = erlang:statistics(reductions), io:format("[~b,~b]", [R, Total]).
"""


class Client:
    """Submits jobs, and sees how far they are."""

    def __init__(self) -> None:
        self._app = make_app(Settings.from_env())
        self.coordinator = Coordinator(self._app.parts)

    def wide(self, size: int, task: str = "noop") -> str:
        header = [self._task(task, number) for number in range(size)]
        return self.coordinator.launch(chord(header, self._task("count"), app=self._app))

    def chain(self, length: int) -> str:
        return self.coordinator.launch(chain(self._task("hop", 0), *[self._task("hop")] * (length - 1)))

    def recorded(self, jobs: Sequence[str]) -> int:
        state = self.coordinator.state_manager
        pipe = state.client.pipeline(transaction=False)
        for job in jobs:
            pipe.hlen(state.keys.named(job, "r")[0])
        return sum(pipe.execute())

    def window(self, meter: Meter, jobs: Sequence[str], total: int) -> dict[str, float]:
        """Meter the middle of some jobs, and wait for their end."""
        while (first := self.recorded(jobs)) < HEAD:
            time.sleep(0.02)
        before = meter.read()
        while (last := self.recorded(jobs)) < total - TAIL:
            time.sleep(0.1)
        found = between(before, meter.read(), last - first)
        for job in jobs:
            self.coordinator.wait(job, timeout_s=60)
        return found

    def _task(self, name: str, *args: int) -> Signature:
        return self._app.signature(f"benchmarks.noop_tasks.{name}", args)


def measure(shape: str, servers: Servers, nodes: Sequence[Redis]) -> dict[str, Any]:
    """Run every workload once, on a queue and with keys of its own."""
    client, meter, queue = Client(), Meter(servers.rabbitmq, nodes), os.environ["COORDINATOR_QUEUE"]
    found: dict[str, Any] = {}
    client.chain(1)  # declares the queue, loads the script
    before = meter.read()
    for _ in range(SUBMITS):
        client.chain(1)
    found["submit"] = between(before, meter.read(), SUBMITS)
    shares = [reductions(servers.rabbitmq, queue)]
    before = meter.read()
    job = client.wide(WIDE)
    found["publish"] = between(before, meter.read(), WIDE)
    with running(workers_of(shape, servers.home)) as workers:
        meter = Meter(servers.rabbitmq, nodes, workers)
        found["join"] = client.window(meter, [job], WIDE)
        shares.append(reductions(servers.rabbitmq, queue))
        found["hop"] = client.window(meter, [client.chain(LENGTH) for _ in range(CHAINS)], CHAINS * LENGTH)
        found["nap"] = client.window(meter, [client.wide(NAPS, "nap")], NAPS)
        before = meter.read()
        time.sleep(IDLE_S)
        found["idle"] = between(before, meter.read(), len(workers))
    (queue_before, all_before), (queue_after, all_after) = shares
    return found | {"queue_share": round((queue_after - queue_before) / (all_after - all_before), 4)}


def reductions(rabbitmq: RabbitMQ, queue: str) -> tuple[int, int]:
    """Return how much work, in Erlang's count, a queue's process has done, and all processes have."""
    own, every = json.loads(rabbitmq.ctl("eval", REDUCTIONS.format(queue=queue)).partition("]")[0] + "]")
    return own, every


def settle(shape: str, servers: Servers, cluster: RedisCluster | None) -> tuple[str, list[Redis]]:
    """Say by the environment where a shape works; returns one of SHAPES, and the nodes of Redis."""
    base, _, variant = shape.partition(", ")
    name = f"q{secrets.token_hex(4)}"
    os.environ.update(
        servers.env(),
        COORDINATOR_JOBS="benchmarks.noop_tasks",
        COORDINATOR_QUEUE=name,
        COORDINATOR_PREFIX=name,
        COORDINATOR_QUEUE_TYPE="quorum" if variant == "quorum queue" else "classic",
    )
    if variant == "Redis Cluster" and cluster:
        os.environ["REDIS_URL"] = cluster.url()
        return base, list(cluster.nodes)
    return base, [servers.redis]


def keep(shape: str, found: dict[str, Any]) -> None:
    """Add a round to those that are kept."""
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    kept.setdefault(shape, []).append(found)
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shapes", nargs="*", default=list(SHAPES), help=", ".join((*SHAPES, *ELSEWHERE)))
    shapes = parser.parse_args().shapes
    if unknown := set(shapes) - {*SHAPES, *ELSEWHERE}:
        parser.error(f"expected shapes out of {', '.join((*SHAPES, *ELSEWHERE))}; got {', '.join(unknown)}")
    with private_servers() as servers, ExitStack() as stack:
        cluster = None
        if any("Cluster" in shape for shape in shapes):
            (cluster,) = stack.enter_context(running([RedisCluster(servers.home / "cluster")]))
        for shape in shapes:
            base, nodes = settle(shape, servers, cluster)
            found = measure(base, servers, nodes)
            keep(shape, found)
            rate = {name: round(found[name]["count"] / found[name]["seconds"]) for name in ("join", "hop")}
            print(shape, rate, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
