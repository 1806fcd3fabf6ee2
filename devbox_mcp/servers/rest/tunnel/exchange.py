"""One request of a tunnel: the routes are called in process, and what they send becomes messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Scope

from devbox_mcp.errors import Cancelled, DevboxError, TooLarge
from devbox_mcp.servers.problems import problem
from devbox_mcp.servers.rest.tunnel.frames import MOST_BODY, Asked, answer

Send = Callable[[bytes], Awaitable[None]]

_EVENTS = b"text/event-stream"


class Exchange:
    """Runs a request and sends its answer."""

    def __init__(self, asked: Asked, scope: Scope, send: Send, answered: Callable[[], None]) -> None:
        """``scope`` is the request's, complete. ``answered`` is called before the last message is sent: whoever has
        it may use the id again, whatever still has to be closed."""
        self._asked = asked
        self._scope = scope
        self._send = send
        self._answered = answered
        self._given = False
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = 0
        self._streams = False
        self._done = False
        self._task: asyncio.Task[None] | None = None
        self._begun = False
        self._cancelled = False
        self._over = asyncio.Event()

    def start(self, app: ASGIApp) -> asyncio.Task[None]:
        """Begin. Whatever happens, the request has one last message."""
        self._task = asyncio.ensure_future(self._run(app))
        return self._task

    def cancel(self) -> None:
        """Have the request given up. One that has not begun to run never would, and would not say so."""
        if self._begun and self._task is not None:
            self._task.cancel()
        self._cancelled = True

    async def _run(self, app: ASGIApp) -> None:
        self._begun = True
        if self._cancelled:
            await self._give_up()
            return
        try:
            await app(self._scope, self._receive, self._take)
        except asyncio.CancelledError:
            await self._give_up()
            raise
        if not self._done:
            await self._fail(Cancelled("request", self._asked.path, "the answer ended before its end"))

    async def _give_up(self) -> None:
        if self._streams:
            await self._finish(answer(self._asked.number, self._status, []))
        else:
            await self._fail(Cancelled("request", self._asked.path))

    async def _receive(self) -> Message:
        if not self._given:
            self._given = True
            return {"type": "http.request", "body": self._asked.body, "more_body": False}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def _take(self, message: Message) -> None:
        if self._done:
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = list(message["headers"])
            told = {name.lower(): value for name, value in self._headers}
            self._streams = told.get(b"content-type", b"").startswith(_EVENTS)
            length = told.get(b"content-length", b"")
            if length.isdigit() and int(length) > MOST_BODY and self._asked.method != "HEAD":
                await self._fail(self._too_large())
            return
        body: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        if self._streams:
            await self._take_event(body, more=more)
            return
        self._body.append(body)
        self._size += len(body)
        if self._size > MOST_BODY:
            await self._fail(self._too_large())
        elif not more:
            whole = b"" if self._asked.method == "HEAD" else b"".join(self._body)
            await self._finish(answer(self._asked.number, self._status, self._headers, whole))

    async def _take_event(self, body: bytes, *, more: bool) -> None:
        """Send an event; comments are for connections that need to be kept alive, as this one does by itself."""
        if not more:
            await self._finish(answer(self._asked.number, self._status, [], body))
        elif body and not body.startswith(b":"):
            await self._send(answer(self._asked.number, self._status, self._headers, body, more=True))
            self._headers = []

    def _too_large(self) -> TooLarge:
        return TooLarge(
            "request",
            self._asked.path,
            f"the answer is larger than the {MOST_BODY} bytes of a message",
            hint="ask for it over HTTP, or for a range of it",
            limit=MOST_BODY,
        )

    async def _fail(self, error: DevboxError) -> None:
        failed = problem(error, self._scope["state"].get("request_id"))
        await self._finish(answer(self._asked.number, failed.status_code, failed.raw_headers, bytes(failed.body)))

    async def _finish(self, message: bytes) -> None:
        if not self._done:
            self._done = True
            self._answered()
            try:
                await self._send(message)
            finally:
                # to what still runs, this is a client that went away; not before, for it would give up the sending too
                self._over.set()
