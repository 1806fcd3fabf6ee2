"""Transports that fail on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from devbox_mcp.errors import Unavailable
from devbox_mcp.transports.base import Channel, ExecTransport, Exit


class Wire(Channel):
    """A channel whose bytes go through ``change`` on their way in; with ``cuts`` what that shortens is its end. After
    ``last`` bytes outwards it is cut as well."""

    def __init__(self, inner: Channel, change: Callable[[bytes, int], bytes], cuts: bool, last: int | None) -> None:
        self._cuts = cuts
        self._ended = False
        self._inner = inner
        self._change = change
        self._last = last
        self._sent = 0
        self._received = 0

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        if self._last is not None and self._sent + len(data) > self._last:
            await self._inner.send(bytes(data)[: self._last - self._sent])
            await self.aclose()
            raise Unavailable("send", ".", "cut")
        self._sent += len(data)
        await self._inner.send(data)

    async def receive(self) -> bytes:
        if self._ended:
            await self.aclose()
            raise Unavailable("receive", ".", "cut")
        data = await self._inner.receive()
        start, self._received = self._received, self._received + len(data)
        changed = self._change(data, start)
        self._ended = self._cuts and len(changed) < len(data)
        return changed or await self.receive()

    async def close_stdin(self) -> None:
        await self._inner.close_stdin()

    async def exit(self) -> Exit:
        return await self._inner.exit()

    async def aclose(self) -> None:
        await self._inner.aclose()


class Wires(ExecTransport):
    """``change(data, position)`` for what comes in on the first channel, which is cut after ``last`` bytes outwards;
    the channels after it work. While it is ``down`` no channel can be had."""

    def __init__(
        self,
        inner: ExecTransport,
        change: Callable[[bytes, int], bytes] = lambda data, _: data,
        *,
        cuts: bool = False,
        last: int | None = None,
    ) -> None:
        self._inner = inner
        self._change = change
        self._cuts = cuts
        self._last = last
        self.channels: list[Channel] = []
        self.down = False

    @property
    def name(self) -> str:
        return self._inner.name

    async def start(self, argv: Sequence[str]) -> Channel:
        if self.down:
            raise Unavailable("open", ".", "down")
        channel = await self._inner.start(argv)
        if not self.channels:
            channel = Wire(channel, self._change, self._cuts, self._last)
        self.channels.append(channel)
        return channel

    async def identity(self) -> str:
        return await self._inner.identity()

    async def aclose(self) -> None:
        await self._inner.aclose()


def only(position: int) -> Callable[[bytes, int], bytes]:
    """Let so many bytes in."""

    def change(data: bytes, start: int) -> bytes:
        return data[: max(position - start, 0)]

    return change


def lose(position: int) -> Callable[[bytes, int], bytes]:
    """Lose the byte at a position."""

    def change(data: bytes, start: int) -> bytes:
        if start <= position < start + len(data):
            return data[: position - start] + data[position - start + 1 :]
        return data

    return change
