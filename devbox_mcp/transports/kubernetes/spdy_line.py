"""The line as SPDY, on a connection that aiohttp opened and upgraded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp

from devbox_mcp.transports.kubernetes import spdy
from devbox_mcp.transports.kubernetes.channels import Event, MalformedMessage
from devbox_mcp.transports.kubernetes.lines import Line

#: Bytes that are kept of what comes; then the connection is not read any further.
_ENOUGH = 256 * 1024
#: Bytes that wait here to go out: small frames are to overtake large ones before it comes to this.
_WAITING = 128 * 1024


class _Wire(asyncio.Protocol):
    """What asyncio calls."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.events: list[Event] = []
        self.take: Callable[[Sequence[Event]], bool] = lambda _: False
        self.failure: Exception | None = None
        self.over = False
        self.news = asyncio.Event()
        self._streams = spdy.Streams()
        self._held = 0
        self._writable = asyncio.Event()
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self.over:
            return
        try:
            events = self._streams.feed(data)
        except MalformedMessage as error:
            self._end(error)
            return
        if self._streams.answers:
            self.transport.write(bytes(self._streams.answers))
            self._streams.answers.clear()
        if not self.events and self.take(events):
            return
        self.events += events
        self._held += len(data)
        if self._held >= _ENOUGH:
            self.transport.pause_reading()
        self.news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _end(self, error: Exception | None) -> None:
        if not self.over:
            self.over = True
            self.failure = error
            self.news.set()

    def write_now(self, data: bytes) -> bool:
        if self.over or self.transport.is_closing() or not self._writable.is_set():
            return False
        self.transport.write(data)
        return True

    async def write(self, data: bytes) -> None:
        if self.over or self.transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        self.transport.write(data)
        await self._writable.wait()

    async def next(self) -> Sequence[Event]:
        while not self.events:
            self._read_on()
            if self.over:
                if self.failure is not None:
                    raise self.failure
                raise EOFError
            self.news.clear()
            await self.news.wait()
        events, self.events = self.events, []
        self._read_on()
        return events

    def _read_on(self) -> None:
        if self._held >= _ENOUGH and not self.over:
            self.transport.resume_reading()
        self._held = 0


class SpdyLine(Line):
    """Version 4 of pods/exec on the streams of SPDY/3.1."""

    ends_stdin = True

    def __init__(self, session: aiohttp.ClientSession, response: aiohttp.ClientResponse) -> None:
        connection = response.connection
        if connection is None or connection.transport is None:
            raise ConnectionResetError("the connection is closed")
        transport = connection.transport
        self._session = session
        self._response = response
        self._wire = _Wire(transport)
        transport.set_write_buffer_limits(high=_WAITING)
        transport.set_protocol(self._wire)  # nothing has come yet: servers are silent until the streams are opened
        transport.write(spdy.opening())

    async def send(self, data: memoryview) -> None:
        await self._wire.write(spdy.to_stdin(data))

    def send_now(self, data: bytes) -> bool:
        return self._wire.write_now(spdy.to_stdin(data))

    def deliver(self, take: Callable[[Sequence[Event]], bool]) -> None:
        self._wire.take = take

    async def end_stdin(self) -> None:
        await self._wire.write(spdy.END_OF_STDIN)

    async def receive(self) -> Sequence[Event]:
        return await self._wire.next()

    def get_extra_info(self, name: str) -> Any:
        return self._wire.transport.get_extra_info(name)

    async def farewell(self) -> None:
        """It is the end of the connection that tells."""

    async def aclose(self) -> None:
        self._wire.transport.abort()
        self._response.close()
        await self._session.close()
