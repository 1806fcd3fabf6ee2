"""What a request says in its headers, it says once: the same to every door, and to whatever stood in front.

Of a header that is sent twice, one reader takes the first and another the last, and a third joins them. So what HTTP
has as a list is joined here, as RFC 9110 (5.3) means it; and what can be said only once is refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from devbox_mcp.errors import InvalidArgument
from devbox_mcp.servers.access.refusing import refuse

Headers = list[tuple[bytes, bytes]]

_LISTS = frozenset({b"content-digest", b"if-match", b"if-none-match", b"repr-digest"})
#: Host, Origin and Authorization are looked at before (``Hosts``, ``Identify``): of two, neither counts.
_SINGLE = frozenset({
    b"content-length", b"content-type", b"if-modified-since", b"if-range", b"if-unmodified-since", b"last-event-id",
    b"mcp-method", b"mcp-name", b"mcp-protocol-version", b"mcp-session-id", b"range", b"tus-resumable",
    b"upload-checksum", b"upload-concat", b"upload-defer-length", b"upload-length", b"upload-metadata",
    b"upload-offset", b"x-devbox-trailer", b"x-http-method-override",
})  # fmt: skip


class Fields:
    """Passes on requests whose headers mean one thing, and refuses the others with 400. Names are in lower case, as
    ASGI has them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: Headers = scope.get("headers", [])
        if len({name for name, _ in headers}) < len(headers):
            try:
                scope = {**scope, "headers": _said_once(headers, scope["path"])}
            except InvalidArgument as error:
                await refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)


def _said_once(headers: Iterable[tuple[bytes, bytes]], path: str) -> Headers:
    """Return headers with lists joined. Raises InvalidArgument."""
    found: Headers = []
    places: dict[bytes, int] = {}
    for name, value in headers:
        place = places.setdefault(name, len(found))
        if place < len(found) and name in _SINGLE:
            shown = name.decode("ascii").title()
            raise InvalidArgument("request", path[:200], f"the header {shown} is sent twice", hint="send it once")
        if place < len(found) and name in _LISTS:
            found[place] = (name, found[place][1] + b", " + value)
        else:
            found.append((name, value))
    return found
