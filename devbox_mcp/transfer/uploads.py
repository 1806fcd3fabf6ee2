"""One file into the sandbox: chunk by chunk, each acknowledged, so that a broken connection costs one chunk."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import anyio

from devbox_mcp.errors import Conflict, DevboxError, Integrity, NotFound, Unavailable
from devbox_mcp.guest.frames import INLINE
from devbox_mcp.guest.packing import packed
from devbox_mcp.session.calls import ConnectionLost, Reply
from devbox_mcp.session.warm import WarmSession
from devbox_mcp.transfer.packing import pays

CHUNK = 10 * 1024 * 1024
#: How often a chunk is sent that does not arrive.
_ATTEMPTS = 4
#: Seconds that are spent on clearing away an upload that failed.
_CLEARING = 10.0


async def gather(source: AsyncIterator[bytes], rest: bytes = b"") -> tuple[list[bytes], bytes | None]:
    """Take up to a chunk from a stream; return its pieces, and what came beyond it, None where it ended. ``rest`` came
    before."""
    pieces: list[bytes] = []
    room = CHUNK
    piece: bytes | None = rest
    while piece is not None:
        if len(piece) > room:
            return [*pieces, piece[:room]], piece[room:]
        if piece:
            pieces.append(piece)
            room -= len(piece)
        piece = await anext(source, None)
    return pieces, None


class Upload:
    """A file on its way to ``path``. ``options`` are those of the guest's ``write``: mode, if_match, executable,
    in_place. Where the last answer was lost, ConnectionLost tells whether the file may be there."""

    def __init__(self, session: WarmSession, path: str, options: dict[str, Any]) -> None:
        self._session = session
        self._path = path
        self._options = options
        self._token = secrets.token_hex(8)
        self._left: list[str] = []  # what copies were made of, because a guest that is cut off still holds it
        self._sent = 0
        self._digest = hashlib.sha256()
        self._rate = 0.0
        #: Whether all of it was sent. Before, the file cannot be there, and ``sha256`` is that of its beginning.
        self.whole = False

    @property
    def sha256(self) -> str:
        """The hash of what was sent so far, in hex."""
        return self._digest.hexdigest()

    async def at_once(self, pieces: Sequence[bytes]) -> Reply:
        """Send a file that is no longer than a chunk; return the guest's answer to a write."""
        if sum(map(len, pieces)) <= INLINE:
            data = b"".join(pieces)
            self._digest.update(data)
            self.whole = True
            return await self._call("write", {"sha256": self.sha256, **self._options}, data)
        attempt = 1
        while True:
            self._digest = hashlib.sha256()
            try:
                return await self._call("write", self._options, body=self._whole(pieces), digest=self._digest)
            except ConnectionLost as lost:
                if lost.may_have_happened or attempt == _ATTEMPTS:
                    raise
                attempt += 1

    async def _whole(self, pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
        self.whole = True

    async def run(self, first: list[bytes], rest: bytes, source: AsyncIterator[bytes]) -> Reply:
        """Send a longer one, whose first chunk was gathered already."""
        begun = {name: self._options[name] for name in ("mode", "if_match")}
        try:
            await self._call("upload_begin", {"token": self._token, **begun}, repeat=True)
            chunk = first
            beyond: bytes | None = rest
            while beyond is not None:
                # the next one is read while this one is on its way
                reading = asyncio.ensure_future(gather(source, beyond))
                try:
                    await self._send(chunk)
                    chunk, beyond = await reading
                finally:
                    if not reading.done():
                        reading.cancel()
                        await asyncio.gather(reading, return_exceptions=True)
            if chunk:
                await self._send(chunk)
            reply = await self._finish()
        except BaseException:
            await self._abandon(*self._left, self._token)
            raise
        await self._abandon(*self._left)
        return reply

    async def _send(self, chunk: Sequence[bytes]) -> None:
        size = sum(map(len, chunk))
        for attempt in range(1, _ATTEMPTS + 1):
            pack = self._sent > 0 and await asyncio.to_thread(pays, max(chunk, key=len), self._rate)
            wire = await asyncio.to_thread(lambda: list(packed(chunk))) if pack else chunk
            args = {"token": self._token, "offset": self._sent, "packed": pack}
            # what is hashed on its way is the whole so far, so that no byte is hashed twice
            digest = None if pack else self._digest.copy()
            started = time.monotonic()
            try:
                reply = await self._call("upload_add", args, body=_stream(wire), digest=digest)
            except (ConnectionLost, Integrity):
                if attempt == _ATTEMPTS:
                    raise
                self._session.tally.add("chunk_repeated")
                continue
            except (NotFound, Conflict) as error:
                raise self._gone() from error
            self._rate = sum(map(len, wire)) / max(time.monotonic() - started, 1e-6)
            if reply.value != self._token:
                self._left.append(self._token)
                self._token = str(reply.value)
            break
        self._session.tally.add("chunk_sent")
        if digest is None:
            for piece in chunk:
                self._digest.update(piece)
        else:
            self._digest = digest
        self._sent += size

    async def _finish(self) -> Reply:
        args = {"token": self._token, "size": self._sent, "sha256": self.sha256, **self._options}
        try:
            return await self._call("upload_finish", args)
        except NotFound as error:
            raise self._gone() from error
        except ConnectionLost as lost:
            if self._options["mode"] == "append":
                raise  # a guest that is cut off may be adding it just now, and twice is once too often
            # the same bytes in the same place: at worst it is done once more
            try:
                return await self._call("upload_finish", args)
            except DevboxError:
                raise lost from None

    async def _abandon(self, *tokens: str) -> None:
        with anyio.move_on_after(_CLEARING, shield=True), suppress(DevboxError):
            for token in tokens:
                await self._call("upload_abandon", {"token": token})

    def _gone(self) -> Unavailable:
        """The file that is to be written may well be there: what is missing is its other half."""
        detail = "what had arrived of it is gone, as when the sandbox is replaced; nothing was written"
        return Unavailable("write", self._path, detail, hint="write it again")

    async def _call(
        self,
        operation: str,
        args: dict[str, Any],
        data: bytes = b"",
        *,
        repeat: bool = False,
        body: AsyncIterator[bytes] | None = None,
        digest: hashlib._Hash | None = None,
    ) -> Reply:
        return await self._session.call(
            operation, {"path": self._path, **args}, data, op="write", path=self._path, repeat=repeat, body=body,
            digest=digest,
        )  # fmt: skip


async def _stream(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
