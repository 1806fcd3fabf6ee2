"""Work for a thread, awaited at half the price of a ThreadPoolExecutor's hop.

An executor's future is wrapped in an asyncio future, and shielding that makes a third; every one of them is another
turn of the event loop. Here the thread settles the one future that is awaited. For small operations that hop is most
of the cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any


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
