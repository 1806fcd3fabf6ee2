"""A real gateway on a real loopback socket, in the loop of the test."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from devbox_mcp.audit import NoAudit
from devbox_mcp.backends.base import Backend
from devbox_mcp.limits import Limits
from devbox_mcp.recording import Recorder
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers.gateway import create_app
from devbox_mcp.servers.mcp.server import Door
from devbox_mcp.settings import Settings


@asynccontextmanager
async def gateway(
    backend: Backend, *, port: int = 0, tls: tuple[str, str] | None = None, **options: object
) -> AsyncIterator[str]:
    """Serve a backend as the devbox ``box``; gives the server's URL. ``tls`` are the files of a certificate and its
    key, ``options`` are settings."""
    settings = Settings(**options)  # type: ignore[arg-type]  # by name, as a file has them
    sandbox = Sandbox("box", backend, await backend.root(), Limits(), Recorder(NoAudit(), "box"))
    sandboxes = Sandboxes([sandbox], NoAudit())
    door = Door(sandboxes, settings, over_stdio=False)
    app = create_app(sandboxes, settings, door, "127.0.0.1")
    async with listening(app, port=port, tls=tls) as url:
        yield url


@asynccontextmanager
async def listening(app: object, *, port: int = 0, tls: tuple[str, str] | None = None) -> AsyncIterator[str]:
    """Serve an application, on a port of its own if none is said."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]  # an ASGI application
        log_level="error",
        lifespan="on",
        ws="websockets-sansio",
        ws_max_size=2 << 20,
        ws_per_message_deflate=False,
        h11_max_incomplete_event_size=1 << 20,
        timeout_graceful_shutdown=1,
        ssl_certfile=tls and tls[0],
        ssl_keyfile=tls and tls[1],
    )
    # without its own loop, which looks only ten times a second whether it is to end, and which takes pytest's signals
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup([listener])
    assert server.started, "the server did not start"
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await server.shutdown([listener])
        listener.close()
