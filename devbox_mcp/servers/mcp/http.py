"""MCP over streamable HTTP at ``/mcp``: Host and Origin checked, a bearer token off loopback, bodies limited."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import uvicorn
from mcp.server.lowlevel.server import Server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp

from devbox_mcp.servers.auth import RequireToken
from devbox_mcp.settings import Settings

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_GRACE_SECONDS = 10
_MOST_CONNECTIONS = 512


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that is bound to ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of the settings' ``HOST:PORT``."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


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


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_MOST_CONNECTIONS)
    except OSError:
        listener.close()
        raise
    return listener


async def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Serve until told to stop; open requests get a few seconds to end."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="on",
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        server_header=False,
    )
    await uvicorn.Server(config).serve(sockets=[listener])
