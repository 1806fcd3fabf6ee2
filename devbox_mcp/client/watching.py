"""Changes as they happen: an iterator that misses nothing, or says so."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from inspect import isawaitable
from typing import Any, Self, TypeVar

from devbox_mcp.client import shapes
from devbox_mcp.client.connection import Connection, Core, PathText, spelled
from devbox_mcp.client.shapes import Event
from devbox_mcp.errors import DevboxError
from devbox_mcp.models import Events

Handler = TypeVar("Handler", bound=Callable[[Event], Any])

#: Seconds that one call waits for a change.
_WAIT = 30.0
#: Seconds between attempts when the devbox cannot be reached, and how many in a row are made.
_PAUSE = 1.0
_ATTEMPTS = 5

_log = logging.getLogger(__name__)


class Feed:
    """The changes beneath a directory, one after the other. Its cursor outlives broken connections: what was missed
    meanwhile is told, or ``resync``."""

    def __init__(self, core: Core, path: str, *, recursive: bool) -> None:
        self._core = core
        self._path = path
        self._recursive = recursive
        self._cursor: str | None = None
        self._pending: deque[Event] = deque()
        self._waiting: asyncio.Task[Event | None] | None = None
        self._starting = asyncio.Lock()
        self._forget: Callable[[], None] | None = None
        self.closed = False
        self.following: asyncio.Task[None] | None = None
        """what calls a handler; a task lives as long as somebody holds it"""

    async def start(self) -> None:
        """See what changes from now on, if it did not begin before. Raises what watching raises."""
        async with self._starting:
            if self._cursor is None and not self.closed:
                self._forget = self._core.before_closing(self.aclose)
                await self._look(0)

    async def next(self) -> Event | None:
        """Return the next change, None once it is closed. Raises what watching raises, when trying again is no use."""
        if self.closed:
            return None
        self._waiting = asyncio.ensure_future(self._next())
        try:
            return await asyncio.shield(self._waiting)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                return None  # ended by aclose, not by who waits here
            self._waiting.cancel()
            raise

    async def _next(self) -> Event | None:
        await self.start()
        failures = 0
        while not self._pending:
            try:
                await self._look(_WAIT)
                failures = 0
            except DevboxError as error:
                failures += 1
                if not error.retryable or failures == _ATTEMPTS or self._core.closed:
                    raise
                await asyncio.sleep(_PAUSE)
        return self._pending.popleft()

    async def _look(self, seconds: float) -> None:
        sandbox = await self._core.sandbox()
        path = await sandbox.parse(self._path, "watch")
        found: Events = await sandbox.watch(
            path, cursor=self._cursor, timeout=seconds, recursive=self._recursive, limit=1000
        )
        self._cursor = found.cursor
        if found.resync:
            self._pending.append(Event("resync", path.text, directory=True))
        self._pending += map(shapes.event, found.events)

    async def aclose(self) -> None:
        """End it; whoever waits for a change gets None."""
        self.closed = True
        if self._forget is not None:
            self._forget()
        if self._waiting is not None and not self._waiting.done():
            if not self._waiting.cancelling():  # twice would not let it end what it has begun
                self._waiting.cancel()
            await asyncio.wait([self._waiting])


async def _follow(feed: Feed, handler: Callable[[Event], Any]) -> None:
    try:
        while (event := await feed.next()) is not None:
            try:
                answer = handler(event)
                if isawaitable(answer):
                    await answer
            except Exception:  # noqa: BLE001  whatever a handler raises, the next change is told
                log_failure(event)
    except DevboxError as error:
        log_end(error)


def log_failure(event: Event) -> None:
    """Say that a handler raised; the next change is another matter."""
    _log.exception("a handler of changes failed at %s %s", event.type, event.path)


def log_end(error: DevboxError) -> None:
    """Say that nobody watches any more."""
    _log.error("watching has ended: %s", error)


class AsyncWatch:
    """Changes beneath a directory, in one of three ways::

    async for event in box.fs.watch("."):  # begins with the first turn
        print(event.path, event.type)

    async with box.fs.watch(".") as changes:  # begins here, ends with the block
        async for event in changes: ...

    @box.fs.watch(".")  # a task of the running loop, until the box is closed
    async def on_change(event): ...
    """

    def __init__(self, connection: Connection, path: PathText, *, recursive: bool) -> None:
        self._connection = connection
        self._feed = Feed(connection.core, spelled(path), recursive=recursive)

    def __call__(self, handler: Handler) -> Handler:
        """Call a function, which may be asynchronous, with every change. What it raises is logged."""
        self._feed.following = asyncio.get_running_loop().create_task(_follow(self._feed, handler))
        return handler

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await self._feed.next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def __aenter__(self) -> Self:
        await self._feed.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End it: an iteration that waits ends too."""
        await self._feed.aclose()
