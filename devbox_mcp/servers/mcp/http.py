"""MCP over streamable HTTP at ``/mcp``: Host and Origin checked, bodies limited, a session for whoever opened it.

Who asks is in ``scope["state"]["caller"]`` when a request comes here (``servers/access``).
"""

from __future__ import annotations

from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.lowlevel.server import Server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Receive, Scope, Send

from devbox_mcp.callers import Caller
from devbox_mcp.servers.access.hosts import AllowedHosts
from devbox_mcp.settings import Settings


def create_app(server: Server[Any], settings: Settings, host: str) -> ASGIApp:
    """Return the ASGI application of a server that is bound to ``host``."""
    allowed = AllowedHosts.configured(settings, host)
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=list(allowed.hosts),
        allowed_origins=list(allowed.origins),
    )
    return _Owned(
        server.streamable_http_app(
            streamable_http_path="/mcp", max_request_body_size=settings.limits.body, transport_security=security
        )
    )


class _Owned:
    """Tells the SDK who asks, in its own words: so a session is not there for anybody but who opened it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            caller: Caller = scope["state"]["caller"]
            user = AuthenticatedUser(AccessToken(token="", client_id=caller.name, scopes=[]))
            scope = {**scope, "user": user}
        await self._app(scope, receive, send)
