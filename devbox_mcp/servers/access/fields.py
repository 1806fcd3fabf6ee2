"""What a request says in its headers, it says once: the same to every door, and to whatever stood in front.

Of a header that is sent twice, one reader takes the first and another the last, and a third joins them. So what HTTP
has as a list is joined here, as RFC 9110 (5.3) means it; and what can be said only once is refused. So is a body in a
coding, which nobody here undoes: its packed bytes would become the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from devbox_mcp.errors import InvalidArgument, Unsupported, printable
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
_CODINGS = frozenset({b"content-encoding", b"transfer-encoding"})
_UNSUPPORTED_MEDIA_TYPE = 415


class Fields:
    """Passes on requests whose headers mean one thing, and refuses the others with 400, and codings with 415 or 501.
    Names are in lower case, as ASGI has them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: Headers = scope.get("headers", [])
        names = {name for name, _ in headers}
        try:
            if not _CODINGS.isdisjoint(names):
                _require_plain(headers, scope["path"])
            if len(names) < len(headers):
                scope = {**scope, "headers": _said_once(headers, scope["path"])}
        except _Packed as error:
            accepted = {"Accept-Encoding": "identity"}
            await refuse(error, scope, receive, send, status=_UNSUPPORTED_MEDIA_TYPE, headers=accepted)
            return
        except (InvalidArgument, Unsupported) as error:
            await refuse(error, scope, receive, send)
            return
        await self._app(scope, receive, send)


def require_whole(headers: Mapping[str, str], path: str, *, hint: str) -> None:
    """Raise InvalidArgument for a body that is a part of a file. For doors whose bodies become files."""
    if "content-range" in headers:
        detail = "a part of a file (Content-Range) is not written: the body would become the whole file"
        raise InvalidArgument("write", path, detail, hint=hint)


class _Packed(InvalidArgument):
    """The body is in a Content-Encoding."""


def _require_plain(headers: Headers, path: str) -> None:
    """Raise _Packed or Unsupported for a body whose bytes are not what is meant."""
    for name, value in headers:
        if name not in _CODINGS:
            continue
        codings = {coding.strip() for coding in value.decode("latin-1").lower().split(",")} - {""}
        if name == b"content-encoding" and codings - {"identity"}:
            detail = f"Content-Encoding is {printable(value.decode('latin-1')[:80])}"
            raise _Packed("request", path[:200], detail, hint="send the bytes as they are, without Content-Encoding")
        if name == b"transfer-encoding" and codings - {"chunked"}:
            detail = f"Transfer-Encoding is {printable(value.decode('latin-1')[:80])}"
            raise Unsupported("request", path[:200], detail, hint="send chunked alone, or Content-Length")


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
