"""Processes that write beside the one that serves, for when many write at once.

A small write is thirty system calls, and a thread takes the interpreter's lock back after each of them. One write at a
time is quickest in a thread; of several at once each keeps a busy event loop waiting for that lock, which a process of
its own does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from devbox_mcp.backends.base import Backend
from devbox_mcp.errors import DevboxError, Unavailable
from devbox_mcp.guest.frames import INLINE
from devbox_mcp.layers import Layer
from devbox_mcp.models import WriteMode, Written
from devbox_mcp.paths import SandboxPath

#: Seconds until it is tried again to start a process, where that failed.
_PAUSE = 60.0


class WritersLayer(Layer):
    """Hands small writes that come while another one is under way to other backends on the same files. Of one event
    loop."""

    def __init__(self, inner: Backend, open_writer: Callable[[], Backend], count: int, *, alone: int = 1) -> None:
        """``open_writer`` makes one of up to ``count`` writers, which connects at its first call; they are opened
        when the first of them is needed, and nothing waits for that. ``alone`` is how many writes may be under way
        before one is handed over."""
        super().__init__(inner)
        self._open_writer = open_writer
        self._count = count
        self._alone = alone
        self._writers: list[_Writer] = []
        self._under_way = 0
        self._opening: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._closing: set[asyncio.Task[None]] = set()

    async def write(
        self,
        path: SandboxPath,
        data: bytes | AsyncIterator[bytes],
        *,
        mode: WriteMode = "overwrite",
        if_match: str | None = None,
        executable: bool | None = None,
        in_place: bool = False,
    ) -> Written:
        handed_over = isinstance(data, bytes) and len(data) <= INLINE and self._under_way >= self._alone
        writer = self._least_busy() if handed_over else None
        backend = self._inner if writer is None else writer.backend
        self._under_way += 1
        if writer is not None:
            writer.under_way += 1
        try:
            return await backend.write(
                path, data, mode=mode, if_match=if_match, executable=executable, in_place=in_place
            )
        except DevboxError as error:
            # whether it happened is not known, so it is not for this process to do it again
            if writer is not None and (isinstance(error, Unavailable) or error.op == "open"):
                self._retire(writer)
            raise
        finally:
            self._under_way -= 1
            if writer is not None:
                writer.under_way -= 1

    async def aclose(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            with suppress(asyncio.CancelledError):
                await self._opening
        for writer in tuple(self._writers):
            self._retire(writer)
        await asyncio.gather(*self._closing)
        await super().aclose()

    def _least_busy(self) -> _Writer | None:
        """Return a writer, None where there is none yet."""
        wanting = len(self._writers) < self._count and self._opening is None
        if wanting and asyncio.get_running_loop().time() >= self._not_before:
            self._opening = asyncio.create_task(self._open())
        return min(self._writers, key=lambda writer: writer.under_way, default=None)

    async def _open(self) -> None:
        """Open those that are missing. Where one cannot be, this process writes as well."""
        try:
            while len(self._writers) < self._count:
                backend = self._open_writer()
                try:
                    await backend.root()
                except BaseException:
                    await backend.aclose()
                    raise
                self._writers.append(_Writer(backend))
        except DevboxError:
            self._not_before = asyncio.get_running_loop().time() + _PAUSE
        finally:
            self._opening = None

    def _retire(self, writer: _Writer) -> None:
        """Use a writer no more; another one takes its place when it is needed."""
        if writer in self._writers:
            self._writers.remove(writer)
            task = asyncio.create_task(writer.backend.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


class _Writer:
    """A backend, and how many writes it has to do."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.under_way = 0
