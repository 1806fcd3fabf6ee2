"""Zips that were too big to embed, kept for an hour so that a client can read them in pieces."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from devbox_mcp.backends.base import Backend
from devbox_mcp.errors import DevboxError, NotFound, TooLarge
from devbox_mcp.kinds import open_directory
from devbox_mcp.paths import SandboxPath

SCHEME = "devbox-zip://"
_KEPT_SECONDS = 3600.0
#: Of one caller, and of all together.
_MOST_KEPT = 16
_MOST_IN_ALL = 64


@dataclass(frozen=True, slots=True)
class KeptZip:
    """A zip that its owner, the caller of this name, can read by its URI until it expires."""

    owner: str
    uri: str
    size: int
    expires: float


class ZipStore:
    """A private directory on the server's machine. A zip is there for whoever it was made for, and its URI holds a
    secret besides."""

    def __init__(self, piece: int) -> None:
        """``piece`` is how many bytes one answer holds at most."""
        self._piece = piece
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._backend: Backend | None = None
        self._kept: dict[str, KeptZip] = {}

    def owns(self, uri: str) -> bool:
        """Whether a URI is of this kind."""
        return uri.startswith(SCHEME)

    async def keep(self, owner: str, chunks: AsyncIterator[bytes]) -> KeptZip:
        """Store a zip and return where it is. Raises DevboxError."""
        await self._expire(owner)
        uri = SCHEME + secrets.token_urlsafe(24)
        written = await self._store().write(_file(uri), chunks)
        self._kept[uri] = KeptZip(owner, uri, written.info.size, time.monotonic() + _KEPT_SECONDS)
        return self._kept[uri]

    async def read(self, owner: str, uri: str, offset: int, length: int | None) -> bytes:
        """Return a piece. Raises NotFound for a zip that is unknown, expired or another's, TooLarge for too big a
        piece."""
        await self._expire()
        kept = self._kept.get(uri)
        if kept is None or kept.owner != owner:
            raise NotFound("read", uri, "this zip is not kept (any more)", hint="call download_zip again")
        wanted = kept.size - offset if length is None else length
        if wanted > self._piece:
            raise TooLarge(
                "read", uri, f"a piece is at most {self._piece} bytes", hint=f"append ?offset=0&length={self._piece}"
            )
        return await (await self._store().read(_file(uri), offset=offset, length=length)).read()

    async def aclose(self) -> None:
        """Delete everything."""
        if self._backend is not None:
            await self._backend.aclose()
        if self._directory is not None:
            self._directory.cleanup()

    def _store(self) -> Backend:
        if self._backend is None:
            self._directory = tempfile.TemporaryDirectory(prefix="devbox-mcp-zips-")
            self._backend = open_directory(self._directory.name)
        return self._backend

    async def _expire(self, owner: str | None = None) -> None:
        """Delete what is too old; and make room for one more of an owner, whose own oldest goes first."""
        now = time.monotonic()
        oldest_first = sorted(self._kept.values(), key=lambda kept: kept.expires)
        going = [kept for kept in oldest_first if kept.expires < now]
        if owner is not None:
            staying = [kept for kept in oldest_first if kept.expires >= now]
            own = [kept for kept in staying if kept.owner == owner]
            going += own[: max(len(own) - _MOST_KEPT + 1, 0)]
            rest = [kept for kept in staying if kept not in going]
            going += rest[: max(len(rest) - _MOST_IN_ALL + 1, 0)]
        for kept in going:
            self._kept.pop(kept.uri, None)
            try:
                await self._store().delete(_file(kept.uri))
            except DevboxError:
                continue


def _file(uri: str) -> SandboxPath:
    return SandboxPath(uri.removeprefix(SCHEME) + ".zip")
