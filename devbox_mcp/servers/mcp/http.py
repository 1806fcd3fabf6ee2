"""MCP over streamable HTTP at ``/mcp``: Host and Origin checked, a bearer token off loopback, bodies limited."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import uvicorn
from mcp.server.lowlevel.server import Server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devbox_mcp.servers.auth import RequireToken
from devbox_mcp.settings import Settings

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_GRACE_SECONDS = 10
_MOST_CONNECTIONS = 512
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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


async def serve(app: ASGIApp, listener: socket.socket, on_stop: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; ``on_stop`` is called then, streams end, and requests get a few seconds
    to."""
    streams = _Streams(app)

    def stop() -> None:
        on_stop()
        streams.close()

    config = uvicorn.Config(
        streams,
        log_level="warning",
        access_log=False,
        lifespan="on",
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        server_header=False,
    )
    await _Server(config, stop).serve(sockets=[listener])


class _Server(uvicorn.Server):
    """Returns at a signal, where uvicorn would raise it once more, so that the caller can close what it opened."""

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()
        await super().shutdown(sockets)


class _Streams:
    """An application whose event streams (GET), which have no end of their own, end when the server does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open: set[asyncio.Future[None]] = set()
        self._closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        more = False

        async def observed(message: Message) -> None:
            nonlocal more
            more = message["type"] == "http.response.start" or message.get("more_body", False)
            await send(message)

        stream = asyncio.ensure_future(self._app(scope, receive, observed))
        self._open.add(stream)
        try:
            await stream
        except asyncio.CancelledError:
            if not self._closing:
                raise
            if more:
                await send({"type": "http.response.body"})
        finally:
            self._open.discard(stream)

    def close(self) -> None:
        """End the open streams."""
        self._closing = True
        for stream in self._open:
            stream.cancel()
