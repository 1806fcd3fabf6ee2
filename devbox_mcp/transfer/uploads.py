"""One file into the sandbox: chunk by chunk, each acknowledged, so that a broken connection costs one chunk."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
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
        """Send a longer one, whose first chunk was gathered already; what was sent is taken out of it."""
        begun = {name: self._options[name] for name in ("mode", "if_match")}
        try:
            await self._call("upload_begin", {"token": self._token, **begun}, repeat=True)
            await self._send_all(first, rest, source)
            reply = await self._finish()
        except BaseException:
            await self._abandon(*self._left, self._token)
            raise
        await self._abandon(*self._left)
        return reply

    async def _send_all(self, chunk: list[bytes], beyond: bytes | None, source: AsyncIterator[bytes]) -> None:
        """Send chunk after chunk. While one is on its way the next one is read, and follows it before it is
        acknowledged; no more than two are held."""
        last: _Flight | None = None
        reading: asyncio.Future[tuple[list[bytes], bytes | None]] | None = None
        pack = False
        try:
            while chunk:
                if last is not None and (last.packed or pack or not self._rate):
                    await self._land(last)
                    last, pack = None, await self._pays(chunk)
                last = self._launch(chunk, pack) if last is None else await self._follow(last, chunk)
                if beyond is None:
                    break
                reading = asyncio.ensure_future(gather(source, beyond))
                await asyncio.wait((reading, last.task), return_when=asyncio.FIRST_COMPLETED)
                if last.task.done():  # at once, for it may have failed
                    await self._land(last)
                    last = None
                chunk, beyond = await reading
                pack = await self._pays(chunk)
                if last is not None:
                    await last.handed_over.wait()
            if last is not None:
                await self._land(last)
        finally:
            if last is not None:
                await _stopped(last.task)
            if reading is not None:
                await _stopped(reading)

    def _launch(self, chunk: list[bytes], pack: bool) -> _Flight:
        flight = _Flight(chunk, self._sent, self._digest, packed=pack)
        flight.start(self._send(flight))
        return flight

    async def _follow(self, last: _Flight, chunk: list[bytes]) -> _Flight:
        """Send a chunk behind one that was handed over; then wait for what becomes of that one. If it had to be
        repeated, so has what followed it."""
        flight = _Flight(chunk, last.offset + last.size, last.digest)
        flight.start(self._send_early(flight))
        try:
            await self._land(last)
            if not last.repeated:
                return flight
        except BaseException:
            await _stopped(last.task)
            await _stopped(flight.task)
            raise
        await _stopped(flight.task)
        return self._launch(chunk, pack=False)

    async def _land(self, flight: _Flight) -> None:
        """Wait until a chunk is acknowledged. One that was refused only because it came early is sent again."""
        if not await flight.task:
            flight.repeated = True
            self._session.tally.add("chunk_repeated")
            await self._send(flight)
        self._rate = flight.sent / max(flight.took, 1e-6)
        self._session.tally.add("chunk_sent")
        self._digest = flight.digest
        self._sent += flight.size
        flight.chunk.clear()  # whoever handed it over may hold the list for as long as the upload takes

    async def _send_early(self, flight: _Flight) -> bool:
        """Send a chunk that is good only where the one before it arrived just so; return whether it was taken."""
        try:
            reply = await self._add(flight, flight.chunk, flight.digest, early=True)
        except DevboxError:
            return False
        return bool(reply.value == self._token)

    async def _send(self, flight: _Flight) -> bool:
        """Send a chunk, again and again where it does not arrive."""
        before = self._digest
        for attempt in range(1, _ATTEMPTS + 1):
            wire = await asyncio.to_thread(_packed, flight.chunk) if flight.packed else flight.chunk
            # what is hashed on its way is the whole so far, so that no byte is hashed twice
            flight.digest = before.copy()
            try:
                reply = await self._add(flight, wire, None if flight.packed else flight.digest)
            except (ConnectionLost, Integrity):
                if attempt == _ATTEMPTS:
                    raise
                flight.repeated = True
                self._session.tally.add("chunk_repeated")
                continue
            except (NotFound, Conflict) as error:
                raise self._gone() from error
            if reply.value != self._token:
                flight.repeated = True
                self._left.append(self._token)
                self._token = str(reply.value)
            break
        if flight.packed:
            for piece in flight.chunk:
                flight.digest.update(piece)
        return True

    async def _add(
        self, flight: _Flight, wire: Sequence[bytes], digest: hashlib._Hash | None, *, early: bool = False
    ) -> Reply:
        args = {"token": self._token, "offset": flight.offset, "packed": flight.packed, "early": early}
        reply = await self._call("upload_add", args, body=flight.body(wire), digest=digest)
        flight.took = time.monotonic() - flight.began
        return reply

    async def _pays(self, chunk: Sequence[bytes]) -> bool:
        if not chunk or not self._rate:
            return False
        return await asyncio.to_thread(pays, max(chunk, key=len), self._rate)

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


class _Flight:
    """One chunk on its way, ``offset`` bytes behind the beginning. ``digest`` is that of all up to its end, once it was
    handed over; ``task`` tells whether it was taken; ``repeated``, that what was sent behind it meanwhile is void."""

    task: asyncio.Future[bool]

    def __init__(self, chunk: list[bytes], offset: int, before: hashlib._Hash, *, packed: bool = False) -> None:
        self.chunk = chunk
        self.size = sum(map(len, chunk))
        self.offset = offset
        self.digest = before.copy()
        self.packed = packed
        self.repeated = False
        #: Set when the session has all of it, or nothing more comes of it.
        self.handed_over = asyncio.Event()
        #: How many bytes went over the wire the last time, since when, and for how many seconds.
        self.sent, self.began, self.took = 0, 0.0, 0.0

    def start(self, sending: Coroutine[Any, Any, bool]) -> None:
        """Set it off."""
        self.task = asyncio.ensure_future(sending)
        self.task.add_done_callback(lambda _: self.handed_over.set())

    async def body(self, wire: Sequence[bytes]) -> AsyncIterator[bytes]:
        """Give what is sent of it."""
        self.sent, self.began = sum(map(len, wire)), time.monotonic()
        for piece in wire:
            yield piece
        self.handed_over.set()


def _packed(chunk: Sequence[bytes]) -> list[bytes]:
    return list(packed(chunk))


async def _stopped(work: asyncio.Future[Any]) -> None:
    """End some work, and wait until it has cleaned up behind itself."""
    work.cancel()
    with anyio.CancelScope(shield=True):
        await asyncio.gather(work, return_exceptions=True)
