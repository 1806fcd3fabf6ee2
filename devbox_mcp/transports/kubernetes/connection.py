"""One program in a pod: its WebSocket, what has arrived from it, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections import deque
from collections.abc import Callable, Sequence

import aiohttp

from devbox_mcp.errors import DevboxError, Unavailable, Unsupported
from devbox_mcp.transports.base import Channel, Exit
from devbox_mcp.transports.kubernetes.channels import Ended, Event, MalformedMessage, Stderr, Stdout
from devbox_mcp.transports.kubernetes.lines import MESSAGE, Line
from devbox_mcp.transports.kubernetes.refusals import never_started

#: From so much on it is others' turn, and what the server has not read by then it will not read.
_MUCH = 64 * 1024
#: What is kept of stdout for a slow receiver; then the connection is not read any further.
_BUFFER = 1024 * 1024
_STDERR_TAIL = 4096
#: After its status the server closes the connection; if it does not, nobody waits for it.
_FAREWELL = 2.0


class PodChannel(Channel):
    """A running program. A task of its own reads the connection all the time, so that its end and what the program
    says on stderr are noticed while nobody receives.

    A program that ends without having read its stdin is not reported: the server is stuck in writing to it, for ever.
    So whoever sends much to a program that may fail needs a deadline or an answer to wait for.
    """

    def __init__(self, line: Line, program: str, place: str) -> None:
        self._line = line
        self._program = program
        self._place = place
        self._parts: deque[memoryview] = deque()
        self._size = 0
        self._deliver: Callable[[bytes | memoryview], None] | None = None
        self._received = False
        self._tail = b""
        self._ended: Ended | None = None
        self._cut = ""
        self._closing: asyncio.Task[None] | None = None
        self._stdin_open = True
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._finished = asyncio.Event()
        line.deliver(self._take_now)
        self._reader = asyncio.get_running_loop().create_task(self._read())

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            if self._finished.is_set() or not self._stdin_open:
                raise self._failure("send")
            try:
                await self._line.send(rest[:MESSAGE])
            except (aiohttp.ClientError, OSError) as error:
                await self._verdict()
                raise self._failure("send") from error
            if len(rest) >= _MUCH:
                await asyncio.sleep(0)  # the connection may take it all at once, and others want their turn
            rest = rest[MESSAGE:]

    def send_now(self, data: bytes) -> bool:
        if len(data) > MESSAGE or self._finished.is_set() or not self._stdin_open:
            return False
        return self._line.send_now(data)

    def deliver(self, take: Callable[[bytes | memoryview], None]) -> None:
        self._deliver = take
        self._received = self._received or bool(self._parts)
        while self._parts:
            take(self._parts.popleft())
        self._size = 0
        self._room.set()

    async def receive(self) -> bytes:
        while not self._parts:
            if self._finished.is_set():
                if self._ended is None or (not self._received and never_started(self._program, self._ended)):
                    raise self._failure("receive")
                return b""
            self._news.clear()
            await self._news.wait()
        self._received = True
        taken = [self._parts.popleft()]
        size = len(taken[0])
        while self._parts and size + len(self._parts[0]) <= _BUFFER:
            taken.append(self._parts.popleft())
            size += len(taken[-1])
        self._size -= size
        self._room.set()
        return b"".join(taken)

    async def close_stdin(self) -> None:
        if not self._line.ends_stdin:
            raise Unsupported(
                "close_stdin",
                ".",
                "this cluster's pods/exec (v4) cannot end a program's stdin",
                hint="send its length first",
            )
        if not self._stdin_open or self._finished.is_set():
            return
        self._stdin_open = False
        with contextlib.suppress(aiohttp.ClientError, OSError):  # a program that is gone needs no end of its stdin
            await self._line.end_stdin()

    async def exit(self) -> Exit:
        await self._finished.wait()
        if self._ended is None:
            return Exit(None, self._said(), self._cut)
        return Exit(self._ended.status, self._said(), self._ended.message or self._ended.reason)

    async def aclose(self) -> None:
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            if not self._finished.is_set():
                async with asyncio.timeout(_FAREWELL):
                    await self._line.farewell()
        self._cut = self._cut or "the channel was closed here"
        self._reader.cancel()
        await asyncio.wait([self._reader])
        await self._line.aclose()

    async def _read(self) -> None:
        try:
            while True:
                await self._take()
                while self._size >= _BUFFER:
                    self._room.clear()
                    await self._room.wait()
        except EOFError as error:
            self._cut = str(error)
        except MalformedMessage as error:
            self._cut = f"the server sent {error}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._cut = str(error) or type(error).__name__
        finally:
            self._cut = self._cut or "the connection was cut"
            self._finished.set()
            self._news.set()
            self._hang_up()

    async def _take(self) -> None:
        """Take what comes next. Raises EOFError when there is no more."""
        if self._ended is None:
            events = await self._line.receive()
        else:
            async with asyncio.timeout(_FAREWELL):
                events = await self._line.receive()
        for event in events:
            self._note(event)

    def _take_now(self, events: Sequence[Event]) -> bool:
        """Take what the program said on stdout while there is room. Whatever else comes is for the reader, which knows
        what follows from it."""
        if self._size >= _BUFFER or self._ended is not None or not all(type(event) is Stdout for event in events):
            return False
        for event in events:
            self._note(event)
        return True

    def _note(self, event: Event) -> None:
        if isinstance(event, Stdout) and self._deliver is not None:
            self._received = True
            self._deliver(event.data)
        elif isinstance(event, Stdout):
            self._parts.append(event.data)
            self._size += len(event.data)
            self._news.set()
        elif isinstance(event, Stderr):
            self._tail = (self._tail + event.data)[-_STDERR_TAIL:]
        else:
            self._ended = event

    def _hang_up(self) -> None:
        """Whoever waits to send would wait until the server reads again; a connection shut down wakes it. A server
        that does not read would not learn of the end either, behind all that it has not read: it gets a reset."""
        connection = self._line.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError, TypeError):  # gone, or a loop whose sockets cannot do it
            backlog = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]
            if backlog >= _MUCH:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError, AttributeError, TypeError):
            connection.shutdown(socket.SHUT_RDWR)

    async def _verdict(self) -> None:
        """Let what is on its way in tell why nothing goes out any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await self._finished.wait()

    def _failure(self, op: str) -> DevboxError:
        if self._closing is not None:
            return Unavailable(op, ".", "the channel is closed")
        if self._ended is None:
            if not self._finished.is_set():
                return Unavailable(op, ".", f"the stdin of {self._program} is closed")
            return Unavailable(op, ".", f"the connection to {self._place} broke: {self._cut}")
        missing = None if self._received else never_started(self._program, self._ended)
        if missing is not None:
            return missing
        how = self._ended.message[:300] if self._ended.status is None else f"ended with status {self._ended.status}"
        said = f": {self._said()}" if self._tail else ""
        return Unavailable(op, ".", f"{self._program} in {self._place} {how}{said}")

    def _said(self) -> str:
        return self._tail.decode(errors="replace").strip()
