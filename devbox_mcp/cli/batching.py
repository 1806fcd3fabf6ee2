"""Small files that are written at the same time go in one call, and are flushed to disk together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from devbox_mcp.errors import IoError
from devbox_mcp.models import BatchItem, BatchOutcome, Written
from devbox_mcp.sandbox import Sandbox

_MOST_FILES = 256
_MOST_BYTES = 8 * 1024 * 1024


class Batches:
    """While one batch is under way, the next one gathers. Used as a context, which ends what is under way."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._waiting: list[tuple[BatchItem, asyncio.Future[Written]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def write(self, item: BatchItem) -> Written:
        """Write a file together with others. Raises DevboxError."""
        future: asyncio.Future[Written] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        await asyncio.sleep(0)  # whoever is about to write, too, gets into the first one
        while self._waiting:
            group = self._next()
            try:
                outcomes = await self._sandbox.write_batch([item for item, _ in group])
            except Exception as error:  # noqa: BLE001  whoever asked for the write is told
                outcomes = [BatchOutcome(item.path, None, error) for item, _ in group]
            _tell([future for _, future in group], outcomes)
        self._task = None

    def _next(self) -> list[tuple[BatchItem, asyncio.Future[Written]]]:
        size = count = 0
        for item, _ in self._waiting[:_MOST_FILES]:
            size += len(item.data)
            if count and size > _MOST_BYTES:
                break
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group


def _tell(futures: Sequence[asyncio.Future[Written]], outcomes: Sequence[BatchOutcome]) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if future.done():
            continue  # whoever asked has given up
        if outcome.written is not None:
            future.set_result(outcome.written)
        else:
            future.set_exception(outcome.error or IoError("write", outcome.path.text))
