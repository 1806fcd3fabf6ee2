"""One server from its first connection to its graceful end."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from devbox_mcp.servers.serving.connections import MOST_HEAD, PlainConnection, Timeouts
from devbox_mcp.servers.serving.crowd import Crowd
from devbox_mcp.servers.serving.refusing import OnRefusal
from devbox_mcp.servers.serving.sockets import WebSocketConnection
from devbox_mcp.servers.serving.streams import Streams

#: What is under way when the server is told to end gets so long.
GRACE_SECONDS = 30
_MOST_CONNECTIONS = 512
#: A message carries one body of at most 1 MiB and its head.
_MOST_MESSAGE = 2 * 1024 * 1024
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a command that serves HTTP on the fastest event loop there is."""
    try:
        import uvloop  # noqa: PLC0415  may be missing
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


async def serve(
    app: ASGIApp,
    listener: socket.socket,
    on_stop: Callable[[], None] = lambda: None,
    *,
    timeouts: Timeouts | None = None,
    on_refusal: OnRefusal = lambda _code, _scope: None,
    tls: ssl.SSLContext | None = None,
    grace: int = GRACE_SECONDS,
    most: int = _MOST_CONNECTIONS,
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP. Then ``on_stop`` is called, nobody is listened to any more, event streams
    end, and what else is under way gets ``grace`` seconds to. ``on_refusal`` is told of what is refused before the
    application hears of it: a head that is too long or too late, what is no HTTP or breaks a WebSocket's rules, and a
    request while more than ``most`` connections are open."""
    streams = Streams(app)

    def stop() -> None:
        on_stop()
        streams.close()

    told: dict[str, object] = {"on_refusal": staticmethod(on_refusal)}
    config = uvicorn.Config(
        Crowd(streams, most, lambda: server.server_state, on_refusal),
        http=_connection_class({"timeouts": timeouts or Timeouts(), **told}),
        ws=type("WebSocketConnection", (WebSocketConnection,), told),
        ws_max_size=_MOST_MESSAGE,
        # what is small gains nothing, and what is compressed may be a bomb
        ws_per_message_deflate=False,
        # as the command has set up logging; what clients do wrong is told to them
        log_config=None,
        log_level="error",
        access_log=False,
        # whoever stands in front is not known, so what a request says of its way here is not believed
        proxy_headers=False,
        lifespan="on",
        h11_max_incomplete_event_size=MOST_HEAD,
        timeout_graceful_shutdown=grace,
        server_header=False,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
    )
    server = _Server(config, stop)
    await server.serve(sockets=[listener])


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


def _connection_class(settings: dict[str, object]) -> type[asyncio.Protocol]:
    """Return the protocol with these attributes: httptools' where it is installed."""
    try:
        from devbox_mcp.servers.serving.fast import FastConnection  # noqa: PLC0415  needs httptools, which may be missing
    except ImportError:
        return type("PlainConnection", (PlainConnection,), settings)
    return type("FastConnection", (FastConnection,), settings)
