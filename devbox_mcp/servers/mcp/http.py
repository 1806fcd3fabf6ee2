"""MCP over streamable HTTP at ``/mcp``: Host and Origin checked, bodies limited, a session for whoever opened it.

Who asks is in ``scope["state"]["caller"]`` when a request comes here (``servers/access``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.lowlevel.server import Server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devbox_mcp.callers import Caller
from devbox_mcp.errors import Cancelled, DevboxError, TooLarge
from devbox_mcp.servers.access.hosts import AllowedHosts
from devbox_mcp.servers.access.refusing import refuse
from devbox_mcp.servers.guarding.bodies import SMALL, bodies_of
from devbox_mcp.servers.sense import require_few
from devbox_mcp.settings import Settings

_PIECE = 1 << 20
_LISTEN = "subscriptions/listen"


def create_app(server: Server[Any], settings: Settings, host: str) -> ASGIApp:
    """Return the ASGI application of a server that is bound to ``host``."""
    allowed = AllowedHosts.configured(settings, host)
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=list(allowed.hosts),
        allowed_origins=list(allowed.origins),
    )
    most = settings.limits.body
    app = server.streamable_http_app(
        streamable_http_path="/mcp", max_request_body_size=most, transport_security=security
    )
    return _Whole(_Owned(app), most)


class _Whole:
    """Gives the SDK each message as a whole, for it holds it so anyway: but no more of them at a time than there is
    room for."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        # a request to listen lasts as long as its stream, so what it says has to need no share of the memory; the SDK
        # refuses one whose header tells another method
        listens = _LISTEN in Headers(scope=scope).getlist("mcp-method")
        most = min(SMALL, self._most) if listens else self._most
        size = int(declared) if declared.isdigit() else most
        try:
            if size > most:
                raise _too_large(most)
            given = _Given(await _whole(scope, receive, most, size), receive)
        except DevboxError as error:
            # of a client that has gone too: nothing is sent then, but it is on record
            await refuse(error, scope, receive, send)
            return
        await self._app(scope, given.receive, send)


async def _whole(scope: Scope, receive: Receive, most: int, size: int) -> bytes:
    body = await bodies_of(scope).whole(_pieces(receive, most), size, receive)
    await require_few(body, "request")
    return body


async def _pieces(receive: Receive, most: int) -> AsyncIterator[bytes]:
    arrived = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Cancelled("request", "", "the body ended before its end")
        piece: bytes = message.get("body", b"")
        arrived += len(piece)
        if arrived > most:
            raise _too_large(most)
        yield piece
        more = message.get("more_body", False)


def _too_large(most: int) -> TooLarge:
    return TooLarge("request", "", f"the body is larger than {most} bytes", limit=most)


class _Given:
    """A body that is there, and what the connection says after it. It is given piece by piece and then forgotten: the
    SDK puts one of its own together, and keeps hold of the last piece."""

    def __init__(self, body: bytes, after: Receive) -> None:
        self._body: bytes | None = body
        self._at = 0
        self._after = after

    async def receive(self) -> Message:
        if self._body is None:
            return await self._after()
        piece = self._body[self._at : self._at + _PIECE]
        self._at += _PIECE
        more = self._at < len(self._body)
        if not more:
            self._body = None
        return {"type": "http.request", "body": piece, "more_body": more}


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
