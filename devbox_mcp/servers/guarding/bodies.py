"""Bodies that somebody needs as a whole: while they arrive they lie on disk, and in memory there are no more of them
at a time than there is room for. Who sends slowly, or much at once, takes nobody else's."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import IO, Final, cast

from starlette.types import ASGIApp, Receive, Scope, Send

from devbox_mcp.callers import Caller
from devbox_mcp.errors import RateLimited, Unavailable
from devbox_mcp.servers.guarding.room import Room, Share

#: What is not larger is held in memory from its first byte, and nobody is asked.
SMALL: Final = 128 * 1024
#: Disk there is, for each byte of memory.
_DISK = 4
#: Bytes a second that a body has to come with while others wait for its place.
_SLOWEST = 256 * 1024
#: Disk that a body gets first which does not say how long it is, and then twice as much each time.
_FIRST = 1 << 20
_PIECE = 1 << 16
#: In ``scope["state"]``: what the request holds.
BODIES: Final = "bodies"


class Bodies:
    """What one request has in memory and on disk of its body. Given back when the request is over, or before."""

    def __init__(
        self, memory: Share, gathering: Share, disk: Share, patience: float, *, declared: bool, arrived: bool
    ) -> None:
        """``declared`` says that the request tells its body's length; ``arrived`` that the body is in memory already,
        which is held for it: it then waits for nothing else, so that nobody waits for it who has what it needs."""
        self._declared = declared
        self._arrived = arrived
        self._memory = memory
        self._gathering = gathering
        self._disk = disk
        self._patience = patience

    async def whole(self, body: AsyncIterator[bytes], size: int, receive: Receive) -> bytes:
        """Return a body that has at most ``size`` bytes, as it says itself or as is allowed; memory for it is held
        until the request is over. Raises Unavailable, RateLimited, Cancelled."""
        async with self.spooled(body, size) as spooled:
            length = spooled.tell()
            if length > SMALL:
                # once as it came, and once as what it says
                await self.hold(2 * length, receive)
            spooled.seek(0)
            return spooled.read()

    @asynccontextmanager
    async def spooled(self, body: AsyncIterator[bytes], size: int) -> AsyncIterator[IO[bytes]]:
        """Yield a body that has at most ``size`` bytes as a file that stands at its end. Raises Unavailable,
        RateLimited."""
        with tempfile.SpooledTemporaryFile(SMALL) as file:
            try:
                await self._spool(body, size, cast("IO[bytes]", file))
                yield cast("IO[bytes]", file)
            finally:
                self._disk.give_back()

    async def hold(self, size: int, receive: Receive | None) -> None:
        """Hold memory for so many bytes in all. ``receive`` tells of a client that goes away, once all has come.
        Raises Unavailable, Cancelled."""
        await self._memory.take(size, receive)

    def gathers(self, size: int) -> bool:
        """Return whether so many bytes may be gathered that could be passed on as they come; where not, they should."""
        return size <= SMALL or self._gathering.takes(size)

    def pass_on(self) -> None:
        """Hold no memory any more for what was gathered: it has gone on."""
        self._gathering.give_back()

    def give_back(self) -> None:
        """Hold nothing any more."""
        self._memory.give_back()
        self._gathering.give_back()
        self._disk.give_back()

    async def _spool(self, body: AsyncIterator[bytes], size: int, file: IO[bytes]) -> None:
        arrived = 0
        began = 0.0
        async for piece in body:
            before, arrived = arrived, arrived + len(piece)
            if arrived > SMALL and not self._arrived:
                if before <= SMALL:
                    await self._disk.take(size if self._declared else min(size, max(_FIRST, arrived)))
                    began = time.monotonic()
                elif not self._declared:
                    self._disk.grow(arrived, size)
            with _disk_errors():
                file.write(piece)
            if self._disk.size and self._disk.room.is_wanted:
                self._require_speed(arrived, time.monotonic() - began)

    def _require_speed(self, arrived: int, seconds: float) -> None:
        if seconds > self._patience + arrived / _SLOWEST:
            raise RateLimited(
                "request",
                "",
                "the body comes slowly, and others wait for its place",
                hint="send it again later, or in smaller parts",
            )


class Holding:
    """Lets every request of a known caller have its body as a whole, within what all may have at a time."""

    def __init__(self, app: ASGIApp, rooms: Rooms) -> None:
        self._app = app
        self._rooms = rooms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.get("state", {})
        caller = state.get("caller")
        if scope["type"] != "http" or not isinstance(caller, Caller) or BODIES in state:
            # a message of a WebSocket came as a whole, and whoever read it holds the room
            await self._app(scope, receive, send)
            return
        declared = any(name == b"content-length" for name, _ in scope["headers"])
        bodies = state[BODIES] = self._rooms.bodies(caller.name, declared=declared)
        try:
            await self._app(scope, receive, send)
        finally:
            bodies.give_back()


class Rooms:
    """What all requests share: memory for so many bytes, as much again for those that are gathered as they come (who
    sends them slowly keeps it for long, and nobody should wait for it), and some more of disk."""

    def __init__(self, size: int, patience: float) -> None:
        self.memory = Room(size, patience)
        self.gathering = Room(size, patience)
        self.disk = Room(_DISK * size, patience)
        self._patience = patience

    def bodies(self, who: str, *, declared: bool = True, arrived: bool = False) -> Bodies:
        """Return what a request of a caller holds: nothing yet. See ``Bodies``."""
        memory, gathering, disk = (room.share(who) for room in (self.memory, self.gathering, self.disk))
        return Bodies(memory, gathering, disk, self._patience, declared=declared, arrived=arrived)


def bodies_of(scope: Scope) -> Bodies:
    """Return what this request holds."""
    bodies: Bodies = scope["state"][BODIES]
    return bodies


async def pieces_of(file: IO[bytes]) -> AsyncGenerator[bytes]:
    """Yield what lies on disk, from its beginning."""
    file.seek(0)
    while piece := file.read(_PIECE):
        yield piece


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            "request",
            "",
            f"the server has no place for the body ({error.strerror})",
            hint="have the operator look at its temporary directory, then try again",
        ) from None
