"""Lines of bytes over pipes, on the event loop: each end is one object that reads or writes the descriptor itself.

asyncio's own streams copy what waits to be written once more with every piece that goes, which a message of megabytes
pays for many times, and wake a task for every piece that comes.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain

logger = logging.getLogger(__name__)

_READ = 64 * 1024
#: A line that did not come in one piece has more to come.
_READ_MORE = 1024 * 1024
_BACKLOG = 1024 * 1024


class LineReader:
    """Calls ``on_line`` for each line that arrives, without its end and never blank, and ``on_end`` once: at the end
    of the input, when it fails, or when a line is longer than ``longest`` bytes."""

    def __init__(self, fd: int, on_line: Callable[[bytes], None], on_end: Callable[[], None], longest: int) -> None:
        """Take the descriptor over."""
        self._fd = fd
        self._on_line = on_line
        self._on_end = on_end
        self._longest = longest
        self._pieces: list[bytes] = []
        self._size = 0
        self._loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._ready)

    def close(self) -> None:
        """Read no more."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _ready(self) -> None:
        try:
            data = os.read(self._fd, _READ_MORE if self._pieces else _READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            logger.warning("cannot read the client's messages: %s", error.strerror)
            data = b""
        first, *others = data.split(b"\n")
        if first:
            self._pieces.append(first)
            self._size += len(first)
        for following in others:
            self._emit()
            if following:
                self._pieces.append(following)
                self._size = len(following)
        if not data:
            self._emit()  # the last line may lack its end
            self._end()
        elif self._size > self._longest:
            logger.warning("a message is longer than %d bytes; closing", self._longest)
            self._pieces.clear()
            self._end()

    def _emit(self) -> None:
        line = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if line and not line.isspace():
            self._on_line(line)

    def _end(self) -> None:
        self.close()
        self._on_end()


class LineWriter:
    """Writes lines in the order of the calls, at once where the pipe has room; ``on_lost`` is called when nobody reads
    them any more, and from then on they are dropped."""

    def __init__(self, fd: int, on_lost: Callable[[], None]) -> None:
        """Take the descriptor over."""
        self._fd = fd
        self._on_lost = on_lost
        #: What is to go out, in order: bytes, or lines that are made as they go.
        self._waiting: deque[memoryview | Iterator[bytes]] = deque()
        self._backlog = 0
        self._flushed: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)

    async def write(self, line: bytes | Iterator[bytes]) -> None:
        """Send a line, given without its end. While much of what was sent before still waits, this waits too. A line
        in pieces, none of them empty, has each of them made when the pipe has room; this waits until all have gone."""
        if self._fd < 0:
            return
        if not isinstance(line, bytes):
            if not self._waiting:
                self._loop.add_writer(self._fd, self._ready)
            self._waiting.append(chain(line, (b"\n",)))
            await self.flush()
            return
        if self._waiting:
            self._queue(memoryview(line), memoryview(b"\n"))
        elif (sent := self._send([line, b"\n"])) <= len(line):
            self._queue(memoryview(line)[sent:], memoryview(b"\n"))
            if self._fd >= 0:
                self._loop.add_writer(self._fd, self._ready)
        if self._backlog > _BACKLOG:
            await self.flush()

    async def flush(self) -> None:
        """Wait until all has gone, or nobody reads any more."""
        while self._waiting:
            if self._flushed is None:
                self._flushed = self._loop.create_future()
            await asyncio.shield(self._flushed)

    def close(self) -> None:
        """Write no more; what still waits is dropped."""
        if self._fd >= 0:
            self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1
        self._waiting.clear()
        self._tell_flushed()

    def _queue(self, *parts: memoryview) -> None:
        if self._fd >= 0:
            self._waiting.extend(part for part in parts if part)
            self._backlog += sum(map(len, parts))

    def _send(self, parts: list[bytes] | list[memoryview]) -> int:
        try:
            return os.writev(self._fd, parts)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.close()
            self._on_lost()
            return 0

    def _ready(self) -> None:
        part = self._next()
        if part is not None:
            sent = self._send([part])
            if self._fd < 0:
                return
            self._backlog -= sent
            if sent < len(part):
                self._waiting.appendleft(part[sent:])
        if not self._waiting:
            self._loop.remove_writer(self._fd)
            self._tell_flushed()

    def _next(self) -> memoryview | None:
        """Take the next part of what waits; None at the end of a line that was made as it went."""
        part = self._waiting.popleft()
        if isinstance(part, memoryview):
            return part
        piece = next(part, None)
        if piece is None:
            return None
        self._waiting.appendleft(part)
        self._backlog += len(piece)
        return memoryview(piece)

    def _tell_flushed(self) -> None:
        self._backlog = 0
        if self._flushed is not None:
            self._flushed.set_result(None)
            self._flushed = None
