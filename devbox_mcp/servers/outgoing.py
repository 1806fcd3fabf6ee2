"""Answers that are streamed: whole, or broken off where they cannot be finished."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from devbox_mcp.errors import DevboxError


class Stream(Response):
    """Sends what an iterator yields, and closes it whatever happens. Where it fails, the answer is left without its
    end, so that the server breaks the connection: nobody takes a part for the whole. It stops when the client has
    gone."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], chunks: AsyncIterator[bytes]) -> None:
        self.status_code = status
        self.raw_headers = headers
        self.background = None
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self._send(scope, send))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            sending.cancel()
            # waited for, not awaited: a second cancellation must not reach what is being closed
            await asyncio.wait((sending,))
        if not sending.cancelled() and not isinstance(sending.exception(), OSError):
            sending.result()

    async def _send(self, scope: Scope, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                async for chunk in self._chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except DevboxError:
            return
        finally:
            close = getattr(self._chunks, "aclose", None)
            if close is not None:
                await close()
        await send({"type": "http.response.body", "body": b""})


async def _disconnected(receive: Receive) -> None:
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await receive()
