"""A request that goes no further, over HTTP or as a WebSocket that is not opened."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devbox_mcp.errors import DevboxError, NotFound
from devbox_mcp.servers.problems import problem

#: Asked by what keeps the server running, which knows neither its name nor a key.
PROBES = frozenset({"/healthz", "/readyz", "/health", "/health/ready"})
_POLICY_VIOLATION = 1008


async def refuse(
    error: DevboxError,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Answer with an error. A WebSocket's opening is answered as HTTP too, where the server can do that."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": error.code})
        return
    answer = problem(error, scope.get("state", {}).get("request_id"), status=status, headers=headers)
    await answer(scope, receive, send)


class Handshakes:
    """Stands around the doors. What they close without having opened it has no WebSocket, and is answered so."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        begun = False

        async def observed(message: Message) -> None:
            nonlocal begun
            if begun or message["type"] != "websocket.close":
                begun = True
                await send(message)
                return
            error = NotFound(
                "connect",
                scope["path"][:200],
                "there is no WebSocket at this address",
                hint="ask for it over HTTP; /docs shows what there is",
            )
            await refuse(error, scope, receive, send)

        await self._app(scope, receive, observed)
