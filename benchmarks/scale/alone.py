"""The most that one Redis and one queue carry, measured: a driver that costs next to nothing saturates each.

Run it as ``python -m benchmarks.scale.alone``. *Redis*: the scripts of real steps, begin and finish, encoded
beforehand, over many connections at once. *Queue*: a header's messages, taken and acknowledged by many
consumers of one message each, as a fleet does. Both check the limits that the model gives.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import amqp
import hiredis
from redis.connection import Connection

from benchmarks.scale.demand import Meter, between
from benchmarks.scale.measure import Client, keep, settle
from benchmarks.servers import Servers, private_servers

STEPS, LANES, ROUNDS = 10_000, 24, 3
RECORD = '[0,1,1764000000000,1,"worker@host"]'
BODY_FRAME = 3
ACK = struct.Struct(">BHIHHQBB")  # frame and method of basic.ack: 60, 80, delivery tag, multiple


def redis_alone(servers: Servers) -> dict[str, float]:
    """Begin and finish every step of a header, over ``LANES`` connections."""
    client = Client()
    job = client.wide(STEPS)
    meter = Meter(servers.rabbitmq, [servers.redis])
    lanes = [_RedisLane(servers) for _ in range(LANES)]
    for number, step in enumerate(_encoded(client, job)):
        lanes[number % LANES].commands += step
    before = meter.read()
    drive({lane.socket: lane.on_readable for lane in lanes}, [lane.send_next for lane in lanes])
    found = between(before, meter.read(), STEPS)
    assert client.recorded([job]) == STEPS, "the driver must do what workers do"
    return found


def queue_alone(servers: Servers) -> dict[str, float]:
    """Take and acknowledge every message of a header, by ``LANES`` consumers with a prefetch of 1."""
    Client().wide(STEPS + 3 * LANES)  # at the end each lane acknowledges one more, and is sent one more
    meter = Meter(servers.rabbitmq, [servers.redis])
    left = iter(range(STEPS))
    lanes = [_Consumer(servers, left) for _ in range(LANES)]
    before = meter.read()
    drive({lane.socket: lane.on_readable for lane in lanes}, [])
    return between(before, meter.read(), STEPS)


def drive(lanes: dict[socket.socket, Callable[[], bool]], starts: Sequence[Callable[[], Any]]) -> None:
    """Let each lane go on whenever its socket has something, until one says that all is done."""
    with selectors.DefaultSelector() as selector:
        for sock, on_readable in lanes.items():
            selector.register(sock, selectors.EVENT_READ, on_readable)
        for start in starts:
            start()
        running = len(lanes)
        while running:
            for key, _ in selector.select():
                if not key.data():
                    selector.unregister(key.fileobj)
                    running -= 1


class _RedisLane:
    """One connection; its commands one after the other, each after the answer to the one before."""

    def __init__(self, servers: Servers) -> None:
        address = urlsplit(servers.redis.url(1))
        self._connection = Connection(
            host=address.hostname, port=address.port, password=address.password, db=1
        )
        self._connection.connect()
        self.socket: socket.socket = self._connection._sock
        self.commands: list[bytes] = []
        self._answers = hiredis.Reader()
        self._next = 0

    def send_next(self) -> bool:
        if self._next == len(self.commands):
            return False
        self.socket.sendall(self.commands[self._next])
        self._next += 1
        return True

    def on_readable(self) -> bool:
        self._answers.feed(self.socket.recv(65536))
        answer = self._answers.gets()
        if answer is False:
            return True
        assert not isinstance(answer, Exception), answer
        return self.send_next()


def _encoded(client: Client, job: str) -> Iterator[list[bytes]]:
    """Yield begin and finish of each step, as redis-py would send them."""
    state = client.coordinator.state_manager
    plan = state.plan(job)
    sent: list[tuple[Any, ...]] = []
    first = plan.sent_by(plan.root_trigger)
    state.begin("none", first[0], "load#")  # loads both scripts
    state.finish("none", first[0].key, 1, RECORD, first[0].follow)
    state.client.evalsha = lambda *words: sent.append(("EVALSHA", *words)) or []
    pack = Connection().pack_command
    for step in first:
        state.begin(job, step, f"worker@host~{os.getpid()}#{step.key}")
        state.finish(job, step.key, 1, RECORD, step.follow)
        yield [b"".join(pack(*sent.pop(0))), b"".join(pack(*sent.pop(0)))]


class _Consumer:
    """One AMQP connection that acknowledges what it is given, frame by frame."""

    def __init__(self, servers: Servers, left: Iterator[int]) -> None:
        address = urlsplit(servers.rabbitmq.url())
        self._connection = amqp.Connection(
            host=f"{address.hostname}:{address.port}", userid=address.username, password=address.password
        )
        self._connection.connect()
        channel = self._connection.channel()
        channel.basic_qos(0, 1, False)
        channel.basic_consume(os.environ["COORDINATOR_QUEUE"])
        self.socket: socket.socket = self._connection.transport.sock
        self._channel = channel.channel_id
        self._left = left
        self._read = b""
        self._tag = 0

    def on_readable(self) -> bool:
        """Acknowledge each message that is complete; whether more may come."""
        self._read += self.socket.recv(65536)
        while len(self._read) >= 7:
            kind, _, size = struct.unpack_from(">BHI", self._read)
            if len(self._read) < size + 8:
                break
            self._read = self._read[size + 8 :]
            if kind == BODY_FRAME:
                self._tag += 1
                self.socket.sendall(ACK.pack(1, self._channel, 13, 60, 80, self._tag, 0, 0xCE))
                if next(self._left, None) is None:
                    return False
        return True


DRIVEN = {
    "Redis alone": ("one solo", "redis", redis_alone),
    "classic queue alone": ("one solo", "rabbitmq", queue_alone),
    "quorum queue alone": ("one solo, quorum queue", "rabbitmq", queue_alone),
}


def main() -> None:
    with private_servers() as servers:
        for _ in range(ROUNDS):
            for what, (shape, server, run) in DRIVEN.items():
                settle(shape, servers, None)
                found = run(servers)
                keep(what, found)
                rate, busy = (round(found[name] / found["seconds"], 2) for name in ("count", server))
                print(f"{what}: {rate:.0f} a second, {busy} cores busy", flush=True)


if __name__ == "__main__":
    main()
