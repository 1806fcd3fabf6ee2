"""Paths in URLs, byte by byte.

Routes are chosen by the path as it was sent, before anything is decoded: so ``%2F`` never becomes a separator, a line
break in a name never ends a match, and bytes that are not UTF-8 stay what they are.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from devbox_mcp import paths
from devbox_mcp.errors import InvalidArgument
from devbox_mcp.paths import ROOT, SandboxPath

_HALF_ENCODED = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: What stands in an address as it is: everything else is percent-encoded, as RFC 3986 has it.
_LETTERS = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")


class AsSent:
    """Let the routes of an application match the path as it was sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            scope = {**scope, "path": scope["raw_path"].decode("latin-1")}
        await self._app(scope, receive, send)


def parse(encoded: str, op: str) -> SandboxPath:
    """Parse the path of an address, relative to the root; the empty one is the root. What a proxy or a client might
    rewrite on its way, an empty part or one of dots, is refused. Raises InvalidArgument."""
    if not encoded:
        return ROOT
    if not _LETTERS.fullmatch(encoded) or _HALF_ENCODED.search(encoded):
        raise InvalidArgument(op, encoded[:200], "the path in the address is not percent-encoded")
    if "%" in encoded:
        raw = unquote_to_bytes(encoded)
        if raw.count(b"/") != encoded.count("/"):
            raise InvalidArgument(op, encoded[:200], "%2F is in the path, but no name holds a slash")
        text = os.fsdecode(raw)
    else:
        text = encoded
    path = paths.parse(text.rstrip("/") or text, op)  # a slash at the end is an empty part, whatever the operation
    if path.text != text:
        raise InvalidArgument(
            op, text[:200], "the path in the address has an empty part, or one of dots", hint="write it without"
        )
    return path
