"""Reading ahead: while one file is worked on, the next small ones are on their way.

Every read is a journey to the sandbox, and of many small files the journeys are the time. A large file is opened when
its turn comes: what is read ahead is bounded, and no stream is left open while another is read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

import anyio

from devbox_mcp.backends.base import Backend
from devbox_mcp.models import Content, FileInfo
from devbox_mcp.paths import SandboxPath

_FILES = 8
_SMALL = 256 << 10

#: Opens the file, as ``Backend.read`` does.
Open = Callable[[], Awaitable[Content]]


async def read_ahead(
    backend: Backend, entries: AsyncGenerator[FileInfo, None], wanted: Callable[[FileInfo], bool]
) -> AsyncGenerator[tuple[FileInfo, Open], None]:
    """Yield the entries in their order, each with what opens it; those that are wanted are read ahead."""
    pending: deque[tuple[FileInfo, asyncio.Task[Content | None] | None]] = deque()
    started: set[asyncio.Task[Content | None]] = set()
    try:
        while True:
            while len(pending) < _FILES and (entry := await anext(entries, None)) is not None:
                task = None
                if wanted(entry):
                    task = asyncio.create_task(_read_small(backend, entry.path))
                    started.add(task)
                    task.add_done_callback(_look_at)
                pending.append((entry, task))
            if not pending:
                return
            entry, task = pending.popleft()
            yield entry, _opener(backend, entry.path, task)
            if task is not None:
                started.discard(task)
    finally:
        for task in started:
            task.cancel()
        if started:
            with anyio.CancelScope(shield=True):
                await asyncio.wait(started)


def _look_at(task: asyncio.Task[Content | None]) -> None:
    """Take note of a failure that nobody may come for any more."""
    if not task.cancelled():
        task.exception()


def _opener(backend: Backend, path: SandboxPath, task: asyncio.Task[Content | None] | None) -> Open:
    async def open_() -> Content:
        content = None if task is None else await task
        return await backend.read(path) if content is None else content

    return open_


async def _read_small(backend: Backend, path: SandboxPath) -> Content | None:
    """Return a file's content, held here; None for one that is too large for that."""
    content = await backend.read(path, length=_SMALL)
    try:
        if content.info.size > _SMALL:
            return None
        data = await content.read()
    finally:
        with anyio.CancelScope(shield=True):
            await content.aclose()
    return Content(content.info, content.offset, _once(data))


async def _once(data: bytes) -> AsyncIterator[bytes]:
    if data:
        yield data
