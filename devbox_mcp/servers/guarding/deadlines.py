"""A body that stops arriving, or drips, is not waited for."""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devbox_mcp.errors import Timeout
from devbox_mcp.servers.guarding.measures import Measures
from devbox_mcp.servers.problems import problem

#: A body that comes more slowly than so many bytes a second, after so many times the pause that is allowed, holds its
#: connection rather than sends.
_SLOWEST = 240
_GRACE = 10


class Deadlines:
    """Answers 408 where the next piece of a body does not come within ``seconds``, or all of it comes in drops. To the
    application this is a client that went away, so that what it has begun is undone; what it says to that is not
    sent."""

    def __init__(self, app: ASGIApp, seconds: float, measures: Measures) -> None:
        self._app = app
        self._seconds = seconds
        self._measures = measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, send, self._seconds)
        try:
            await self._app(scope, body.receive, body.send)
        except Exception:
            # whatever the application makes of a client that went away
            if not body.stalled:
                raise
        if not body.stalled:
            return
        self._measures.stalled()
        if not body.begun:
            error = Timeout("request", "", body.complaint)
            state = scope.get("state", {})
            answer = problem(error, state.get("request_id"), status=408, headers={"Connection": "close"})
            await answer(scope, receive, send)


class _Body:
    """One request's body, and whether the answer has begun."""

    def __init__(self, receive: Receive, send: Send, seconds: float) -> None:
        self.begun = False
        self.stalled = False
        self._receive = receive
        self._send = send
        self._seconds = seconds
        self._more = True
        self._size = 0
        self._waited = 0.0

    @property
    def complaint(self) -> str:
        """What is wrong with a body that stalled."""
        if self._left() > 0:
            return f"no more of the body came for {self._seconds:g} seconds"
        return f"the body came at less than {_SLOWEST} bytes a second"

    def _left(self) -> float:
        """Return the seconds that the rest may still be waited for; what has come has earned more."""
        return _GRACE * self._seconds + self._size / _SLOWEST - self._waited

    async def receive(self) -> Message:
        if not self._more:
            # the application listens whether the client goes away
            return await self._receive()
        if self.stalled:
            return {"type": "http.disconnect"}
        started = time.monotonic()
        try:
            async with asyncio.timeout(min(self._seconds, self._left())):
                message = await self._receive()
        except TimeoutError:
            self.stalled = True
            return {"type": "http.disconnect"}
        finally:
            # not what the application takes for it
            self._waited += time.monotonic() - started
        self._size += len(message.get("body", b""))
        self._more = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if self.stalled:
            return
        self.begun = True
        await self._send(message)
