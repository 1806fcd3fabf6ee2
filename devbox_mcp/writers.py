"""Processes that write beside the one that serves, for when many write at once.

A small write is thirty system calls, and a thread takes the interpreter's lock back after each of them. One write at a
time is quickest in a thread; of several at once each keeps a busy event loop waiting for that lock, which a process of
its own does not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress

from devbox_mcp.backends.base import Backend
from devbox_mcp.errors import DevboxError
from devbox_mcp.guest.frames import INLINE
from devbox_mcp.layers import Layer
from devbox_mcp.models import WriteMode, Written
from devbox_mcp.paths import SandboxPath
from devbox_mcp.session.calls import ConnectionLost

logger = logging.getLogger(__name__)

#: Seconds until it is tried again to start a process, where that failed.
_PAUSE = 60.0
#: Seconds that what is under way has to end when everything is closed.
_PATIENCE = 10.0


class WritersLayer(Layer):
    """Hands small writes that come while another one is under way to other backends on the same files. Of one event
    loop."""

    def __init__(self, inner: Backend, open_writer: Callable[[], Backend], count: int, *, alone: int = 1) -> None:
        """``open_writer`` makes one of up to ``count`` writers, which connects at its first call, and of which every
        call raises ConnectionLost when it is gone. They are opened when the first is needed, and nothing waits for
        that. ``alone`` is how many writes may be under way before one is handed over."""
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
        self._under_way += 1
        try:
            if writer is not None:
                with writer.busy():
                    try:
                        return await writer.backend.write(
                            path, data, mode=mode, if_match=if_match, executable=executable, in_place=in_place
                        )
                    except ConnectionLost as lost:
                        self._retire(writer)
                        if lost.may_have_happened:
                            raise
            return await self._inner.write(
                path, data, mode=mode, if_match=if_match, executable=executable, in_place=in_place
            )
        finally:
            self._under_way -= 1

    async def aclose(self) -> None:
        try:
            if self._opening is not None:
                self._opening.cancel()
                with suppress(asyncio.CancelledError):
                    await self._opening
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    for writer in tuple(self._writers):
                        await writer.idle.wait()
            for writer in tuple(self._writers):
                self._retire(writer)
            await asyncio.gather(*self._closing, return_exceptions=True)
        finally:
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
        except DevboxError as error:
            logger.warning("no process can be started to write: %s", error)
        finally:
            self._opening = None
            if len(self._writers) < self._count:
                self._not_before = asyncio.get_running_loop().time() + _PAUSE

    def _retire(self, writer: _Writer) -> None:
        """Use a writer no more; another one takes its place when it is needed."""
        if writer in self._writers:
            self._writers.remove(writer)
            task = asyncio.create_task(writer.backend.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


class _Writer:
    """A backend, and how many writes it has to do; ``idle`` is set while there are none."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.under_way = 0
        self.idle = asyncio.Event()
        self.idle.set()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """It has one more to do while the block lasts."""
        self.under_way += 1
        self.idle.clear()
        try:
            yield
        finally:
            self.under_way -= 1
            if not self.under_way:
                self.idle.set()
