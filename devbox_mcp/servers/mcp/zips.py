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
_MOST_KEPT = 16


@dataclass(frozen=True, slots=True)
class KeptZip:
    """A zip that can be read by its URI until it expires."""

    uri: str
    size: int
    expires: float


class ZipStore:
    """A private directory on the server's machine; its URIs hold a secret, so that nobody reads what he guessed."""

    def __init__(self, piece: int) -> None:
        """``piece`` is how many bytes one answer holds at most."""
        self._piece = piece
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._backend: Backend | None = None
        self._kept: dict[str, KeptZip] = {}

    def owns(self, uri: str) -> bool:
        """Whether a URI is of this kind."""
        return uri.startswith(SCHEME)

    async def keep(self, chunks: AsyncIterator[bytes]) -> KeptZip:
        """Store a zip and return where it is. Raises DevboxError."""
        await self._expire()
        uri = SCHEME + secrets.token_urlsafe(24)
        written = await self._store().write(_file(uri), chunks)
        self._kept[uri] = KeptZip(uri, written.info.size, time.monotonic() + _KEPT_SECONDS)
        return self._kept[uri]

    async def read(self, uri: str, offset: int, length: int | None) -> bytes:
        """Return a piece. Raises NotFound for an unknown or expired zip, TooLarge for too big a piece."""
        await self._expire()
        kept = self._kept.get(uri)
        if kept is None:
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

    async def _expire(self) -> None:
        """Delete what is too old, and the oldest beyond the most that are kept."""
        now = time.monotonic()
        oldest_first = sorted(self._kept.values(), key=lambda kept: kept.expires)
        for index, kept in enumerate(oldest_first):
            if kept.expires < now or len(oldest_first) - index >= _MOST_KEPT:
                del self._kept[kept.uri]
                try:
                    await self._store().delete(_file(kept.uri))
                except DevboxError:
                    continue


def _file(uri: str) -> SandboxPath:
    return SandboxPath(uri.removeprefix(SCHEME) + ".zip")
