"""The line as a WebSocket."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import aiohttp

from devbox_mcp.transports.kubernetes.channels import END_OF_STDIN, V5, Channels, Event, MalformedMessage, to_stdin
from devbox_mcp.transports.kubernetes.lines import Line

_NORMAL_CLOSURE = struct.pack("!H", 1000)


class WebSocketLine(Line):
    """Versions 4 and 5 of pods/exec; only the latter can end stdin."""

    def __init__(self, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._session = session
        self._socket = socket
        self._channels = Channels()
        self.ends_stdin = socket.protocol == V5

    async def send(self, data: memoryview) -> None:
        await self._socket.send_bytes(to_stdin(data))

    async def end_stdin(self) -> None:
        await self._socket.send_bytes(END_OF_STDIN)

    async def receive(self) -> Sequence[Event]:
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            event = self._channels.feed(message.data)
            return () if event is None else (event,)
        if message.type is aiohttp.WSMsgType.PING:
            await self._socket.pong(message.data)
        elif message.type is aiohttp.WSMsgType.TEXT:
            raise MalformedMessage("text")
        elif message.type is not aiohttp.WSMsgType.PONG:
            raise EOFError(str(message.data) if message.type is aiohttp.WSMsgType.ERROR else "")
        return ()

    def get_extra_info(self, name: str) -> Any:
        return self._socket.get_extra_info(name)

    async def farewell(self) -> None:
        await self._socket.send_frame(_NORMAL_CLOSURE, aiohttp.WSMsgType.CLOSE)

    async def aclose(self) -> None:
        await self._session.close()  # aborts the connection and waits for its end
        await self._socket.close()  # nothing to say any more: lets go of the response
