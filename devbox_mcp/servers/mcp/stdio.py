"""MCP over stdin and stdout, read and written on the event loop.

The SDK's own stdio transport hops through threads three times a message; without them, and with the express lane for
what agents do all day, a small call takes a fraction of the time.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import stat
import sys
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TextIO

import mcp_types as types
from mcp.server.connection import Connection
from mcp.server.lowlevel.server import Server
from mcp.server.models import InitializationOptions
from mcp.server.runner import serve_connection
from mcp.server.stdio import stdio_server
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.message import SessionMessage

from devbox_mcp.servers.mcp.express import Express
from devbox_mcp.servers.mcp.pipes import LineReader, LineWriter

logger = logging.getLogger(__name__)

#: The longest message: a full upload_batch in base64, inside JSON, fits.
_LONGEST = 128 * 1024 * 1024
#: A big message goes through the default pipe of 64 KiB in as many turns of both event loops.
_SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", 1031)
_PIPE_SIZE = 1024 * 1024


class _Stream:
    """What the SDK's streams have in common: they are context managers. The pipes belong to ``serve``."""

    async def aclose(self) -> None:
        """Nothing to close."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class _Sent(_Stream):
    """The server's messages."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer

    async def send(self, item: SessionMessage, /) -> None:
        await self._writer.write(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode())

    async def aclose(self) -> None:
        await self._writer.flush()


class _Received(_Stream):
    """The client's messages, as the dispatcher iterates over them, but for those that the express lane took. What is
    no message is answered with an error. ``writer`` is the way back."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        """Take the descriptors over."""
        self.writer = LineWriter(write_fd, on_lost=self._end)
        self._reader = LineReader(read_fd, self._feed, self._end, _LONGEST)
        self._lines: deque[bytes] = deque()
        self._ended = False
        self._arrival: asyncio.Future[None] | None = None
        self._opening: SessionMessage | None = None
        self.express: Express | None = None

    def close(self) -> None:
        """Give the pipes up."""
        self._reader.close()
        self.writer.close()

    def _feed(self, line: bytes) -> None:
        if self.express is None or not self.express.take(line):
            self._lines.append(line)
            self._wake()

    def _end(self) -> None:
        self._ended = True
        self._wake()

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
            while not self._lines:
                if self._ended:
                    raise StopAsyncIteration
                self._arrival = asyncio.get_running_loop().create_future()
                await self._arrival
            line = self._lines.popleft()
            try:
                message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValueError:
                await self.writer.write(_refusal(line))
                continue
            if _has_bad_id(message, line):
                await self.writer.write(_refusal(line))
                continue
            return SessionMessage(message)

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


def _has_bad_id(message: types.JSONRPCMessage, line: bytes) -> bool:
    """Whether what was taken for a notification is a request, with an id that is none."""
    return (
        isinstance(message, types.JSONRPCNotification)
        and not message.method.startswith("notifications/")
        and b'"id"' in line
        and "id" in json.loads(line)
    )


def _refusal(line: bytes) -> bytes:
    """Return the answer to what is no message, with its id if it has one: nobody shall wait for ever."""
    request_id = None
    error = types.ErrorData(code=types.PARSE_ERROR, message="this line is not JSON")
    with suppress(ValueError, RecursionError):
        found = json.loads(line)
        error = types.ErrorData(
            code=types.INVALID_REQUEST,
            message="this is no JSON-RPC message (an id is a whole number or a text), or it holds a lone surrogate",
        )
        if isinstance(found, dict) and type(found.get("id")) in (int, str):
            request_id = found["id"]
    return (
        types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error)
        .model_dump_json(by_alias=True, exclude_unset=True)
        .encode()
    )


Pipes = tuple[int, int]


def claim() -> Pipes | None:
    """Take stdin and stdout away from everybody else, before anything is started that could read the client's
    messages or print among the answers: stdin becomes empty, stdout stderr. None where they are no pipes."""
    if sys.stdin is None or sys.stdout is None or not (_is_pipe(0) and _is_pipe(1)):
        return None
    pipes = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3), fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    for fd in pipes:
        with suppress(OSError):  # not a pipe, or the user's pipes hold enough already
            fcntl.fcntl(fd, _SET_PIPE_SIZE, _PIPE_SIZE)
    return pipes


async def serve(server: Server[Any], pipes: Pipes | None) -> None:
    """Serve one client on what was claimed, or else on stdin and stdout, until it closes its end."""
    if pipes is None and not _can_be_read(sys.stdin):
        logger.warning("stdin is closed, so there is no client to serve")
        return
    options = server.create_initialization_options()
    if pipes is None:
        # a file or a terminal cannot be polled as a pipe; the SDK reads them in threads
        async with stdio_server() as (received, sent):
            await server.run(received, sent, options)
        return
    received = _Received(*pipes)
    try:
        if await received.opens_with_handshake():
            await _serve_handshake(server, received, options)
        else:
            await server.run(received, _Sent(received.writer), options)
    finally:
        received.close()


async def _serve_handshake(server: Server[Any], received: _Received, options: InitializationOptions) -> None:
    """Serve a client of the handshake era by the SDK's dispatcher, with the express lane beside it."""
    async with server.lifespan(server) as state:
        # "initialize" is answered before the next message is looked at, for clients that do not wait
        sent = _Sent(received.writer)
        dispatcher = JSONRPCDispatcher(received, sent, inline_methods=frozenset({"initialize"}))
        connection = Connection.for_loop(dispatcher)
        express = Express(server, connection, state, received.writer)
        received.express = express
        try:
            await serve_connection(
                server, dispatcher, connection=connection, lifespan_state=state, init_options=options
            )
        finally:
            received.express = None
            await express.aclose()


def _can_be_read(stdin: TextIO | None) -> bool:
    """Whether there is an input: the command puts one that cannot be read in the place of one that was closed."""
    return stdin is not None and fcntl.fcntl(stdin, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY


def _is_pipe(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
