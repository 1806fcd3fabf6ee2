"""An event loop in a thread of its own, and the way in for threads that block."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

from devbox_mcp.errors import Cancelled, Unavailable

T = TypeVar("T")

#: Items that are taken over at once, so that a long listing does not hop from thread to thread for each.
_MOST_ITEMS = 256


class Portal:
    """The loop starts with the first call. Any number of threads may call at once."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._calls: set[asyncio.Task[Any]] = set()
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether its end has begun."""
        return self._ended

    def run(self, work: Coroutine[Any, Any, T], /) -> T:
        """Return what a coroutine returns. An interrupted thread cancels it, and waits until it has stopped.

        Raises what it raises, Unavailable after ``close`` and in a forked process, Cancelled when the loop is closed
        meanwhile, RuntimeError from within the loop, which would wait for itself.
        """
        outcome: Future[T] = Future()
        tasks: list[asyncio.Task[T]] = []
        calls = self._calls

        def start() -> None:
            task = loop.create_task(work)
            tasks.append(task)
            calls.add(task)
            task.add_done_callback(calls.discard)
            task.add_done_callback(lambda _: _settle(task, outcome))

        try:
            loop = self._running()
            loop.call_soon_threadsafe(start)
        except BaseException:
            work.close()
            raise
        try:
            return outcome.result()
        except BaseException:
            if not outcome.done():
                loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])
                outcome.exception()
            raise

    def iterate(self, items: AsyncIterator[T], *, most: int = _MOST_ITEMS) -> Iterator[T]:
        """Iterate over what comes asynchronously, one item at first, then up to ``most`` at a time."""
        count = 1
        try:
            while taken := self.run(_take(items, count)):
                yield from taken
                count = min(count * 2, most)
        finally:
            close = getattr(items, "aclose", None)
            if close is not None and not self._ended:
                self.run(_closed(close))

    def close(self, last: Callable[[], Awaitable[None]]) -> None:
        """Run a last call, end the loop, and wait for its thread. From within the loop, it ends a little later."""
        self.end(last)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread() and self._pid == os.getpid():
            thread.join()

    def end(self, last: Callable[[], Awaitable[None]]) -> None:
        """Begin the end, once, and do not wait for it: calls of other threads are given up, then comes the last."""
        calls = self._calls
        with self._lock:
            if self._ended:
                return
            self._ended = True
            loop = self._loop
        if loop is not None and self._pid == os.getpid():
            loop.call_soon_threadsafe(lambda: asyncio.ensure_future(_finish(calls, last, loop)))

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._pid != os.getpid():
            raise Unavailable("open", ".", "this box was made by another process, before a fork", hint="make a new one")
        with self._lock:
            if self._ended:
                raise Unavailable("open", ".", "this box is closed", hint="make a new one")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_serve, args=(self._loop,), name="devbox-loop", daemon=True)
                self._thread.start()
        if threading.current_thread() is self._thread:
            raise RuntimeError("a callback runs in the box's own loop and cannot make calls: they would wait for it")
        return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    # holds the loop only: whoever made the portal may be collected meanwhile
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


async def _finish(
    calls: set[asyncio.Task[Any]], last: Callable[[], Awaitable[None]], loop: asyncio.AbstractEventLoop
) -> None:
    try:
        await _given_up(set(calls))
        await last()
    finally:
        await _given_up(asyncio.all_tasks(loop) - {asyncio.current_task(loop)})
        # one turn later, so that whoever waited for these tasks is told
        loop.call_soon(loop.stop)


async def _given_up(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _settle(task: asyncio.Task[T], outcome: Future[T]) -> None:
    if task.cancelled():
        outcome.set_exception(Cancelled("call", ".", "the call was given up, or the box was closed meanwhile"))
    elif (error := task.exception()) is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(task.result())


async def _take(items: AsyncIterator[T], most: int) -> list[T]:
    taken: list[T] = []
    async for item in items:
        taken.append(item)
        if len(taken) == most:
            break
    return taken


async def _closed(close: Callable[[], Awaitable[None]]) -> None:
    await close()
