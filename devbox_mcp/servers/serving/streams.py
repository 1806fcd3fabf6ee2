"""Event streams, which have no end of their own, end when the server does."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_EVENTS = b"text/event-stream"


class Streams:
    """An application whose event streams (GET) can be ended; every other answer goes on to its end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open: set[asyncio.Task[object]] = set()
        self._closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        task = asyncio.current_task()
        assert task is not None
        begun = more = False

        async def observed(message: Message) -> None:
            nonlocal begun, more
            if message["type"] == "http.response.start":
                begun = any(name.lower() == b"content-type" and _EVENTS in value for name, value in message["headers"])
                if begun:
                    self._open.add(task)
            more = message["type"] == "http.response.start" or message.get("more_body", False)
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except asyncio.CancelledError:
            if not (self._closing and begun):
                raise
            task.uncancel()
            if more:
                await send({"type": "http.response.body"})
        finally:
            self._open.discard(task)

    def close(self) -> None:
        """End the open streams."""
        self._closing = True
        for stream in self._open:
            stream.cancel()
