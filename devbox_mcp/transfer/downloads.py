"""One file out of the sandbox: all from one version, gone on with where a connection broke."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from devbox_mcp.errors import Conflict, Integrity
from devbox_mcp.session.calls import ConnectionLost, Incoming, Reply
from devbox_mcp.session.warm import WarmSession
from devbox_mcp.transfer.packing import pays, unpacked

#: How often in a row the connection may break before anything more has come.
_ATTEMPTS = 4
#: So much must have come before the speed of the link is known.
_MEASURED = 4 * 1024 * 1024
#: After so much more it is looked again whether packing pays: trying it takes milliseconds.
_AGAIN = 16 * 1024 * 1024


class Download:
    """The range of a file from ``start`` on, ``size`` bytes long, whose first stream was opened already. ``revision``
    names the version; ``revision_of`` finds it in what the guest says of a file, or raises ValueError or TypeError."""

    def __init__(
        self,
        session: WarmSession,
        path: str,
        start: int,
        size: int,
        revision: str,
        revision_of: Callable[[Any], str],
    ) -> None:
        self._session = session
        self._path = path
        self._start = start
        self._size = size
        self._revision = revision
        self._revision_of = revision_of
        self._come = 0
        self._waited = 0.0
        self._look = _MEASURED

    async def chunks(self, stream: Incoming) -> AsyncGenerator[bytes, None]:
        """Yield the bytes. Raises Conflict where the file was changed when the connection came back, Integrity,
        ConnectionLost."""
        pack, failures = False, 0
        while True:
            packed, opened, digest = pack, self._come, hashlib.sha256()
            pieces = unpacked(stream, "read", self._path) if packed else stream
            try:
                async for chunk in self._timed(pieces):
                    self._come += len(chunk)
                    failures = 0
                    if packed:
                        digest.update(chunk)
                    yield chunk
                    if not packed and self._slow(chunk):
                        break
                else:
                    if self._come < self._size:
                        raise self._wrong()
                    return
                pack = True
            except ConnectionLost:
                failures += 1
                if failures == _ATTEMPTS:
                    raise
            finally:
                await stream.aclose()
            # what came since the stream was opened was not verified by its trailer
            await self._verify(opened, digest.hexdigest() if packed else stream.sha256)
            stream = await self._reopen(pack)

    async def _timed(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Count what comes, and the time that is waited for it; the taker's own slowness is none of the link's."""
        while True:
            started = time.monotonic()
            chunk = await anext(pieces, None)
            self._waited += time.monotonic() - started
            if chunk is None:
                return
            if self._come + len(chunk) > self._size:
                raise self._wrong()
            yield chunk

    def _slow(self, chunk: bytes) -> bool:
        """Whether packing what is still to come would save time."""
        if self._come < self._look or self._size - self._come < _MEASURED:
            return False
        self._look = self._come + _AGAIN
        return pays(chunk, self._come / max(self._waited, 1e-6))

    async def _verify(self, opened: int, sha256: str) -> None:
        if self._come == opened:
            return
        reply = await self._call("hash", self._start + opened, self._come - opened)
        if reply.value.get("sha256") != sha256:
            raise Integrity("read", self._path, "the bytes that arrived are not those of the file")

    async def _reopen(self, packed: bool) -> Incoming:
        options = {"packed": True} if packed else {}
        reply = await self._call("read_stream", self._start + self._come, self._size - self._come, **options)
        if reply.stream is None:
            raise self._wrong()
        return reply.stream

    async def _call(self, operation: str, offset: int, length: int, **options: Any) -> Reply:
        args = {"path": self._path, "offset": offset, "length": length, **options}
        reply = await self._session.call(operation, args, op="read", path=self._path, repeat=True)
        try:
            revision = self._revision_of(reply.value)
        except (KeyError, TypeError, ValueError):
            raise self._wrong() from None
        if revision != self._revision:
            raise Conflict("read", self._path, "the file was changed while it was read", hint="read it again")
        return reply

    def _wrong(self) -> Integrity:
        return Integrity("read", self._path, "the guest sent another range than was asked for")
