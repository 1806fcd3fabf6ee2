"""``AsyncDevbox.fs``: everything that can be done with files."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, AnyStr, Literal, TypeVar, overload

import anyio

from devbox_mcp.client.connection import PathText
from devbox_mcp.client.openfiles import open_file
from devbox_mcp.client.transferring import AsyncTransferring
from devbox_mcp.client.watching import AsyncWatch

T = TypeVar("T")

TextMode = Literal["r", "rt", "w", "wt", "a", "at", "x", "xt"]
ReadBytes = Literal["rb", "br"]
WriteBytes = Literal["wb", "bw", "ab", "ba", "xb", "bx"]


class AsyncFile(anyio.AsyncFile[AnyStr]):
    """A file object whose methods are awaited. If its block raises, nothing is written."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            await anyio.to_thread.run_sync(self.wrapped.__exit__, kind, error, trace)
        else:
            await self.aclose()


class AsyncFiles(AsyncTransferring):
    """The files of a devbox. Paths are relative to the root, or absolute and beneath it; sizes are bytes, times
    seconds since 1970, versions sha256 in hex. Every method raises DevboxError and nothing else: Unavailable where
    the devbox cannot be reached, EscapesRoot and InvalidArgument for paths, and what is written at each. Only what is
    of another type than it has to be is a TypeError, before anything is done."""

    @overload
    async def open(
        self,
        path: PathText,
        mode: TextMode = "r",
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        if_match: str | None = None,
    ) -> AsyncFile[str]: ...

    @overload
    async def open(
        self, path: PathText, mode: ReadBytes | WriteBytes, *, if_match: str | None = None
    ) -> AsyncFile[bytes]: ...

    async def open(
        self,
        path: PathText,
        mode: str = "r",
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        if_match: str | None = None,
    ) -> AsyncFile[str] | AsyncFile[bytes]:
        """Open a file object: ``async with await box.fs.open("a.csv") as file: await file.read()``.

        What is read is of the version that was opened: Conflict once the file is another. What is written becomes
        the file when it is closed, atomically; if the block raises, nothing does. Text is UTF-8 unless ``encoding``
        says otherwise. ``if_match`` opens, or replaces, that version only.

        Raises NotFound, IsDirectory, Exists, Conflict, InvalidArgument for another mode.
        """
        opened = await open_file(
            self._connection, path, mode, _Waiting(asyncio.get_running_loop()).run, encoding=encoding, errors=errors,
            newline=newline, if_match=if_match,
        )  # fmt: skip
        return AsyncFile[Any](opened)

    def watch(self, path: PathText = ".", *, recursive: bool = True) -> AsyncWatch:
        """Watch a directory: iterate over what changes, or decorate a function that is called with every Event.

        Raises NotFound, NotDirectory, Unsupported where the devbox cannot watch, when it begins.
        """
        return AsyncWatch(self._connection, path, recursive=recursive)


class _Waiting:
    """Threads that wait for the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def run(self, work: Coroutine[Any, Any, T], /) -> T:
        """Run a coroutine in the loop. Raises RuntimeError from the loop's own thread, which would wait for itself."""
        try:
            own = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            own = False
        if own:
            work.close()
            raise RuntimeError("this file object belongs to the event loop: await its methods")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
