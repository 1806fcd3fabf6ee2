"""A body that is streamed, and whose end is always told to the server: so that what breaks off, or is given up, is
gone there when it is told here.

The body's last 32 bytes are the sha256 of those before them (``X-Devbox-Trailer: sha-256``). The server compares them
before the file is replaced; a body that breaks ends with something else.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import anyio
import httpx2

from devbox_mcp.backends.http.asking import Asking
from devbox_mcp.backends.http.failures import Lost

TRAILER = {"X-Devbox-Trailer": "sha-256"}
_BROKEN = bytes(32)
#: Seconds that the end of a body which is given up is waited for.
_GIVING_UP = 10.0


class Sending:
    """One streamed body. The source is iterated over by whoever calls, so that its errors arrive there as they are."""

    def __init__(self, asking: Asking, *, in_step: bool = False) -> None:
        """``in_step``: the source is asked for its next piece when the one before it has left."""
        self._asking = asking
        self._in_step = in_step
        self._left = asyncio.Event()
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(2)
        self._digest = hashlib.sha256()
        self._ends_with = _BROKEN
        #: Whether all of the source has been handed over.
        self.whole = False

    @property
    def sha256(self) -> str:
        """The hash of what was sent."""
        return self._digest.hexdigest()

    async def send(self, request: httpx2.Request, begun: bytes, source: AsyncIterator[bytes]) -> httpx2.Response:
        """Send a request made with ``body``, and return its answer with the body still to come. Raises Lost, and what
        the source raises."""
        sending = asyncio.ensure_future(self._asking.open(request))
        try:
            await self._hand_over(begun, sending)
            async for piece in source:
                if not await self._hand_over(piece, sending):
                    return await sending
            self.whole = True
            self._ends_with = self._digest.digest()
            await self._put(None, sending)
            return await asyncio.shield(sending)
        except BaseException:
            await self._end(sending)
            raise

    async def body(self) -> AsyncIterator[bytes]:
        """Yield what is handed over."""
        while (piece := await self._pieces.get()) is not None:
            yield piece
            self._left.set()
        yield self._ends_with

    async def _hand_over(self, piece: bytes, sending: asyncio.Future[httpx2.Response]) -> bool:
        """Whether the piece is on its way; otherwise there is an answer already."""
        if not piece:
            return not sending.done()
        self._digest.update(piece)
        self._left.clear()
        return await self._put(piece, sending) and (not self._in_step or await self._passed(sending))

    async def _passed(self, sending: asyncio.Future[httpx2.Response]) -> bool:
        """Wait until the piece has left. Whether it has; otherwise there is an answer already."""
        leaving: asyncio.Future[Any] = asyncio.ensure_future(self._left.wait())
        try:
            await asyncio.wait([leaving, sending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
        return not sending.done()

    async def _put(self, piece: bytes | None, sending: asyncio.Future[httpx2.Response]) -> bool:
        if sending.done():
            return False
        with suppress(asyncio.QueueFull):
            self._pieces.put_nowait(piece)
            return True
        putting: asyncio.Future[Any] = asyncio.ensure_future(self._pieces.put(piece))
        try:
            await asyncio.wait([putting, sending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            putting.cancel()
        return not sending.done()

    async def _end(self, sending: asyncio.Future[httpx2.Response]) -> None:
        """End the body as a broken one, and wait until the server says that nothing came of it."""
        with anyio.move_on_after(_GIVING_UP, shield=True), suppress(Lost):
            if not self.whole:
                await self._put(None, sending)
            response = await asyncio.shield(sending)
            await response.aclose()
        if not sending.done():
            sending.cancel()
            with anyio.CancelScope(shield=True), suppress(Lost, asyncio.CancelledError):
                await sending
