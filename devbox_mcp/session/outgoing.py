"""What goes out on a channel: small frames first, together; pieces of streams when there is nothing else to say."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from devbox_mcp.errors import DevboxError
from devbox_mcp.transports.base import Channel

#: Pieces of streams that wait to be sent, in bytes: more would only be memory.
_ENOUGH = 1 << 20


class Outgoing:
    """The one place from which a channel is written to, so that a call that is given up never leaves half a frame."""

    def __init__(self, channel: Channel, fail: Callable[[DevboxError], None]) -> None:
        """``fail`` is told when the channel takes no more."""
        self._channel = channel
        self._fail = fail
        self._first: list[tuple[int, bytes]] = []
        self._second: deque[tuple[int, bytes]] = deque()
        self._second_size = 0
        self._something = asyncio.Event()
        self._resting = False
        self._room = asyncio.Event()
        self._room.set()
        self._task = asyncio.create_task(self._run())

    def send(self, request: int, frame: bytes, *, alone: bool = False) -> None:
        """Send a frame before all pieces of streams. Where it is ``alone``, and no other is to be expected that could
        travel with it, it need not wait for the task here to wake up."""
        if alone and self._resting and not self._something.is_set() and self._channel.send_now(frame):
            return
        self._first.append((request, frame))
        self._something.set()

    async def stream(self, request: int, frame: bytes) -> None:
        """Send a frame of a stream in its turn; waits while many others do."""
        await self._room.wait()
        self._second.append((request, frame))
        self._second_size += len(frame)
        if self._second_size >= _ENOUGH:
            self._room.clear()
        self._something.set()

    def waiting(self) -> set[int]:
        """Return the requests of which something was not sent yet."""
        return {request for request, _ in (*self._first, *self._second)}

    def close(self) -> None:
        """Send no more."""
        self._resting = False
        self._task.cancel()

    async def _run(self) -> None:
        try:
            while True:
                if self._first:
                    frames = [frame for _, frame in self._first]
                    self._first.clear()
                    await self._channel.send(frames[0] if len(frames) == 1 else b"".join(frames))
                elif self._second:
                    _, frame = self._second.popleft()
                    self._second_size -= len(frame)
                    if self._second_size < _ENOUGH:
                        self._room.set()
                    await self._channel.send(frame)
                else:
                    self._something.clear()
                    self._resting = True
                    await self._something.wait()
                    self._resting = False
        except DevboxError as error:
            self._fail(error)
