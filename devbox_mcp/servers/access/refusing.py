"""A request that goes no further, over HTTP or as a WebSocket that is not opened."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from devbox_mcp.errors import DevboxError
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
