"""streaQ on Redis Streams: asyncio tasks, a chain by ``then``, a join that depends on all the others."""

from __future__ import annotations

import asyncio
import os

from streaq import Worker

worker = Worker(redis_url=os.environ["REDIS_URL"])


@worker.task
async def noop(n: int) -> int:
    return n


@worker.task
async def hop(n: int) -> int:
    return n + 1


class Side:
    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.context = worker.__aenter__()
        self.runner.run(self._enter())

    async def _enter(self) -> None:
        await self.context

    def chain(self, length: int) -> None:
        assert self.runner.run(self._chain(length)) == length

    async def _chain(self, length: int) -> int:
        task = hop.enqueue(0)
        for _ in range(length - 1):
            task = task.then(hop)
        await task
        return await self._result(task.id)

    def fan(self, size: int) -> None:
        assert self.runner.run(self._fan(size)) == size

    async def _fan(self, size: int) -> int:
        tasks = [noop.enqueue(n) for n in range(size)]
        # What depends on others is not given their results: the join is handed what it returns.
        join = noop.enqueue(size).start(after=[task.id for task in tasks])
        await worker.enqueue_many(tasks)
        await join
        return await self._result(join.id)

    async def _result(self, task_id: str) -> int:
        # Task.result takes 0.1 s longer than the work: look at the key, as for plain Celery.
        while not (raw := await worker.redis.get(worker.results_key + task_id)):
            await asyncio.sleep(0.001)
        return (await worker.deserialize(raw))["r"]

    def submit(self) -> None:
        self.runner.run(self._submit())

    async def _submit(self) -> None:
        await noop.enqueue(1)
