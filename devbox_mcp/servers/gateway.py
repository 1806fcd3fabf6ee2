"""All doors that are reached by HTTP, behind the middlewares that every request passes.

From the outside in: Observe (what is this request called, how did it go) → Hosts (is it meant for this server) →
Identify (who asks) → Throttle (how much) → Deadlines (how slowly) → the doors.
"""

from __future__ import annotations

import secrets

from starlette.types import ASGIApp, Receive, Scope, Send

from devbox_mcp.callers import OPERATOR
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers.mcp import http
from devbox_mcp.servers.mcp.server import Door
from devbox_mcp.servers.rest import app as rest
from devbox_mcp.servers.rest.addresses import AsSent
from devbox_mcp.settings import Settings


def create_app(sandboxes: Sandboxes, settings: Settings, door: Door, host: str) -> ASGIApp:
    """Return the application of all doors, for a server that is bound to ``host``. Raises ValueError where it would
    be open to the network without credentials."""
    api = AsSent(_Operator(rest.create(sandboxes, settings)))
    return _Doors(http.create_app(door.server, settings, host), api)


class _Doors:
    """Sends each request to its door; the server's life is the MCP door's."""

    def __init__(self, mcp: ASGIApp, api: ASGIApp) -> None:
        self._mcp = mcp
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] == "/mcp":
            await self._mcp(scope, receive, send)
        else:
            await self._api(scope, receive, send)


class _Operator:
    """Takes whoever asks for the operator."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = secrets.token_hex(8)
        scope = {**scope, "state": {**scope.get("state", {}), "request_id": request_id}}
        scope["state"]["caller"] = OPERATOR.asking(request_id)
        await self._app(scope, receive, send)
