"""More connections than there is room for: what comes by them is refused, in the words of every refusal."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from devbox_mcp.servers.serving.refusing import OnRefusal, problem


class Crowd:
    """Stands around everything, and refuses requests while ``most`` connections or requests are there already."""

    def __init__(self, app: ASGIApp, most: int, state: Callable[[], ServerState], on_refusal: OnRefusal) -> None:
        """``state`` returns what the server has open."""
        self._app = app
        self._most = most
        self._state = state
        self._on_refusal = on_refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = self._state()
        # this one is among them
        if scope["type"] != "http" or max(len(state.connections), len(state.tasks)) <= self._most:
            await self._app(scope, receive, send)
            return
        self._on_refusal("unavailable", scope)
        body = problem(503, "unavailable", f"{self._most} connections are open already", retryable=True)
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"retry-after", b"1"),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})
