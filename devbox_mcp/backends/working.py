"""The guest in process, in threads: its work is awaited, its errors become the project's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from typing import TypeVar

import anyio

from devbox_mcp.backends import answers
from devbox_mcp.backends.threads import Call
from devbox_mcp.errors import Unavailable
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.pool import Pool

T = TypeVar("T")

_WORKERS = 8
#: Calls that hold a thread while they wait for somebody: the sender of a stream, the next change.
_WAITERS = 64


class GuestThreads:
    """The threads of one backend."""

    def __init__(self) -> None:
        self._workers = Pool(_WORKERS, "devbox-work")
        self._waiters = Pool(_WAITERS, "devbox-wait")
        #: Once set, every call raises Unavailable.
        self.closed = False

    def check_open(self, op: str, path: str) -> None:
        """Raise Unavailable where the backend was closed."""
        if self.closed:
            raise Unavailable(op, path, "this devbox was closed")

    async def run(
        self,
        op: str,
        path: str,
        job: Job,
        work: Callable[[], T],
        *,
        waits: bool = False,
        body: Body | None = None,
    ) -> T:
        """Run blocking work in a thread. A cancelled call tells the work to stop, and waits until it has, so
        that what it had half done is gone when the cancellation arrives."""
        self.check_open(op, path)
        call = Call(asyncio.get_running_loop(), work, job.end)
        (self._waiters if waits else self._workers).run(call.run)
        try:
            result: T = await call.result
        except GuestError as error:
            raise answers.error(op, error) from error
        except asyncio.CancelledError:
            job.cancel()
            if body is not None:
                body.cancel()
            with anyio.CancelScope(shield=True):
                await _settled(asyncio.ensure_future(call.finished()))
                if body is not None:
                    await _settled(asyncio.ensure_future(body.left()))
            raise
        return result

    async def aclose(self) -> None:
        """Wait until all work is done."""
        with anyio.CancelScope(shield=True):
            loop = asyncio.get_running_loop()
            for pool in (self._workers, self._waiters):
                await loop.run_in_executor(None, pool.close)


async def _settled(task: asyncio.Future[None]) -> None:
    """Wait for the end of a task that whoever is impatient cannot cancel, however often it tries."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait((task,))


class Body:
    """An asynchronous stream of bytes, iterated over by a thread."""

    def __init__(self, chunks: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._chunks = chunks
        self._loop = loop
        self._pending: Future[bytes | None] | None = None
        self._cancelled = False
        self._idle = asyncio.Event()
        self._idle.set()

    def cancel(self) -> None:
        """Wake the thread if it waits for a chunk."""
        self._cancelled = True
        if self._pending is not None:
            self._pending.cancel()

    async def left(self) -> None:
        """Wait until the stream is not being asked for a chunk any more, so that its owner can close it."""
        await self._idle.wait()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self._pending = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            if self._cancelled:
                self._pending.cancel()
            try:
                chunk = self._pending.result()
            except CancelledError as error:
                raise GuestError("cancelled", ".", "the sender gave up") from error
            if chunk is None:
                return
            yield chunk

    async def _next(self) -> bytes | None:
        self._idle.clear()
        try:
            return await anext(self._chunks, None)
        finally:
            self._idle.set()


@contextmanager
def guest_errors(op: str) -> Iterator[None]:
    """Turn the guest's errors into the project's, at this seam only."""
    try:
        yield
    except GuestError as error:
        raise answers.error(op, error) from error
