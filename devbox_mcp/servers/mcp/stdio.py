"""MCP over stdin and stdout by asyncio's pipes.

The SDK's own stdio transport hops through threads three times a message; reading and writing the pipes on the event
loop, with no queue between them and the dispatcher, answers in half the time.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import stat
import sys
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import mcp_types as types
from mcp.server.lowlevel.server import Server
from mcp.server.models import InitializationOptions
from mcp.server.runner import serve_loop
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage

logger = logging.getLogger(__name__)

#: The longest message: a full upload_batch in base64, inside JSON, fits.
_LONGEST = 128 * 1024 * 1024
_BACKLOG = 1024 * 1024
#: A big message goes through the default pipe of 64 KiB in as many turns of both event loops.
_SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", 1031)
_PIPE_SIZE = 1024 * 1024


class _Received:
    """The client's messages, as the dispatcher iterates over them; what is none is answered with an error."""

    def __init__(self, reader: asyncio.StreamReader, sent: _Sent) -> None:
        self._reader = reader
        self._sent = sent
        self._opening: SessionMessage | None = None

    async def opens_with_handshake(self) -> bool:
        """Look at the first message, which the iteration will still yield."""
        with suppress(StopAsyncIteration):
            self._opening = await anext(self)
        message = self._opening.message if self._opening is not None else None
        return isinstance(message, types.JSONRPCRequest) and message.method == "initialize"

    async def receive(self) -> SessionMessage:
        return await anext(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage:
        if self._opening is not None:
            opening, self._opening = self._opening, None
            return opening
        while True:
            try:
                line = await self._reader.readline()
            except ValueError:  # asyncio's way to say that the limit was passed
                logger.warning("a message is longer than %d bytes; closing", _LONGEST)
                raise StopAsyncIteration from None
            if not line:
                raise StopAsyncIteration
            if line.isspace():
                continue
            try:
                return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
            except ValueError:
                await self._sent.send(_refusal(line))

    async def aclose(self) -> None:
        """The pipe is the process's own; nothing to close."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class _Sent:
    """The server's messages, written at once; a slow client makes the sender wait."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def send(self, item: SessionMessage, /) -> None:
        self._writer.write(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
        if self._writer.transport.get_write_buffer_size() > _BACKLOG:
            await self._writer.drain()

    async def aclose(self) -> None:
        """Flush what is buffered, unless the client is gone."""
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _refusal(line: bytes) -> SessionMessage:
    """Return the answer to what is no message, with its id if it has one: nobody shall wait for ever."""
    request_id = None
    error = types.ErrorData(code=types.PARSE_ERROR, message="this line is not JSON")
    with suppress(ValueError, RecursionError):
        found = json.loads(line)
        error = types.ErrorData(
            code=types.INVALID_REQUEST, message="this is no JSON-RPC message, or a text in it holds a lone surrogate"
        )
        if isinstance(found, dict) and type(found.get("id")) in (int, str):
            request_id = found["id"]
    return SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error))


async def serve(server: Server[Any]) -> None:
    """Serve one client on stdin and stdout until it closes stdin."""
    if sys.stdin is None or sys.stdout is None:
        logger.warning("stdin or stdout is closed, so there is no client to serve")
        return
    options = server.create_initialization_options()
    if not (_is_pipe(0) and _is_pipe(1)):
        # a file or a terminal cannot be polled as a pipe; the SDK reads them in threads
        async with stdio_server() as (received, sent):
            await server.run(received, sent, options)
        return
    read_fd, write_fd = _claim()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_LONGEST)
    incoming, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_fd, "rb", buffering=0)
    )
    outgoing, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(loop), os.fdopen(write_fd, "wb", buffering=0)
    )
    writer = asyncio.StreamWriter(outgoing, protocol, None, loop)
    try:
        sent = _Sent(writer)
        await _converse(server, _Received(reader, sent), sent, options)
    finally:
        incoming.close()
        outgoing.close()


async def _converse(server: Server[Any], received: _Received, sent: _Sent, options: InitializationOptions) -> None:
    """Serve a connection. A client that opens with the handshake gets the SDK's loop for that era alone, which spares
    every message the relay that ``Server.run`` needs to tell the eras apart."""
    if await received.opens_with_handshake():
        async with server.lifespan(server) as state:
            await serve_loop(server, received, sent, lifespan_state=state, init_options=options)
    else:
        await server.run(received, sent, options)


def _is_pipe(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _claim() -> tuple[int, int]:
    """Take stdin and stdout away from everybody else: what a library prints goes to stderr, never on the wire."""
    read_fd = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
    write_fd = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    for fd in (read_fd, write_fd):
        with suppress(OSError):  # not a pipe, or the user's pipes hold enough already
            fcntl.fcntl(fd, _SET_PIPE_SIZE, _PIPE_SIZE)
    return read_fd, write_fd
