"""MCP over streamable HTTP at ``/mcp``: Host and Origin checked, a bearer token off loopback, bodies limited."""

from __future__ import annotations

from typing import Any

from mcp.server.lowlevel.server import Server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp

from devbox_mcp.servers.auth import RequireToken
from devbox_mcp.servers.serving import is_loopback
from devbox_mcp.settings import Settings

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


def create_app(server: Server[Any], settings: Settings, host: str) -> ASGIApp:
    """Return the ASGI application. Raises ValueError where it would be open to the network without a token."""
    if settings.token is None and not is_loopback(host):
        raise ValueError(
            f"{host} can be reached from other machines, so a token is required: set DEVBOX_MCP_TOKEN, "
            "pass --token-file, or bind 127.0.0.1"
        )
    own = () if host in ("0.0.0.0", "::") else (f"[{host}]" if ":" in host else host,)  # noqa: S104  compared, not bound
    names = dict.fromkeys((*_LOOPBACK_NAMES, *own))
    # with any port, and with none as clients write port 80
    hosts = [*(f"{name}:*" for name in names), *names]
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[*hosts, *settings.allow_hosts],
        allowed_origins=[*(f"http://{name}" for name in hosts), *settings.allow_origins],
    )
    app: ASGIApp = server.streamable_http_app(
        streamable_http_path="/mcp", max_request_body_size=settings.limits.body, transport_security=security
    )
    return app if settings.token is None else RequireToken(app, settings.token)
