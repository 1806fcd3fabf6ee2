"""Threads for work that blocks, at half the price of a ThreadPoolExecutor's hop.

An executor's future is wrapped in an asyncio future, and shielding that makes a third; every one of them is another
turn of the event loop. Here the thread settles the one future that is awaited. For small operations that hop is most
of the cost.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Call:
    """Work handed to a thread: ``await call.result``. A result that is no longer wanted can be waited for by
    ``finished``."""

    __slots__ = ("_afterwards", "_finished", "_loop", "_settled", "_work", "result")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, work: Callable[[], Any], afterwards: Callable[[], None]
    ) -> None:
        self.result: asyncio.Future[Any] = loop.create_future()
        self._loop = loop
        self._work = work
        self._afterwards = afterwards
        self._settled = False
        self._finished: asyncio.Future[None] | None = None

    def run(self) -> None:
        """Do the work, in a thread, and tell the event loop."""
        value: Any = None
        failure: BaseException | None = None
        try:
            value = self._work()
        except BaseException as error:  # noqa: BLE001  it is raised again where the result is awaited
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, value, failure)
        self._afterwards()

    def _settle(self, value: Any, failure: BaseException | None) -> None:
        self._settled = True
        if self._finished is not None:
            if not self._finished.done():  # a second cancellation ends the waiting, not the work
                self._finished.set_result(None)
        elif self.result.done():
            return
        elif failure is None:
            self.result.set_result(value)
        else:
            self.result.set_exception(failure)

    async def finished(self) -> None:
        """Wait until the thread is through, for a call whose ``result`` was cancelled."""
        if not self._settled:
            self._finished = self._loop.create_future()
            await self._finished


class Threads:
    """Up to ``most`` daemon threads, started as they are needed. Whichever was busy last is the next: those that wait
    in one queue would wake each other for every call."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._lock = threading.Lock()
        #: Calls that wait for a thread, or threads that wait for a call; never both.
        self._waiting: deque[Call] = deque()
        self._idle: list[SimpleQueue[Call | None]] = []
        self._threads: list[threading.Thread] = []
        self._closed = False

    def call(self, work: Callable[[], T], afterwards: Callable[[], None]) -> Call:
        """Hand work to a thread of the running event loop's, and what it is to do when the result is out."""
        call = Call(asyncio.get_running_loop(), work, afterwards)
        with self._lock:
            if self._idle:
                self._idle.pop().put(call)
            elif len(self._threads) < self._most:
                self._start(call)
            else:
                self._waiting.append(call)
        return call

    def close(self) -> None:
        """End the threads, when what was handed over is done; blocks until then."""
        with self._lock:
            self._closed = True
            for inbox in self._idle:
                inbox.put(None)
        for thread in self._threads:
            thread.join()

    def _start(self, call: Call) -> None:
        inbox: SimpleQueue[Call | None] = SimpleQueue()
        inbox.put(call)
        name = f"{self._name}-{len(self._threads)}"
        thread = threading.Thread(target=self._serve, args=(inbox,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, inbox: SimpleQueue[Call | None]) -> None:
        while (call := inbox.get()) is not None:
            call.run()
            del call  # or its work, with all it holds, lives on until the next
            with self._lock:
                if self._waiting:
                    inbox.put(self._waiting.popleft())
                elif self._closed:
                    return
                else:
                    self._idle.append(inbox)
