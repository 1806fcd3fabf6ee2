"""The other end of a transfer: a file of this machine, by path or already open.

A path is worked on by the local backend, so that atomicity and errors are the same at both ends.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from devbox_mcp.backends.base import Backend
from devbox_mcp.client.connection import PathText
from devbox_mcp.errors import DevboxError
from devbox_mcp.kinds import open_directory
from devbox_mcp.paths import SandboxPath

_CHUNK = 1 << 20


@runtime_checkable
class Source(Protocol):
    """An open binary file to read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""


@runtime_checkable
class Sink(Protocol):
    """An open binary file to write to."""

    def write(self, data: bytes, /) -> object:
        """Take the bytes."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A file to be sent: ``size`` in bytes and ``revision`` where they are known, ``executable`` True where somebody
    may run it."""

    chunks: AsyncIterator[bytes]
    size: int | None = None
    revision: str | None = None
    executable: bool | None = None


@asynccontextmanager
async def source(local: PathText | Source, *, offset: int = 0) -> AsyncIterator[Opened]:
    """Open what is to be sent, from ``offset`` on. Raises DevboxError with the path as it was written."""
    if isinstance(local, Source):
        yield Opened(_read(local))
        return
    with naming(local):
        directory, name = _place(local)
    try:
        with naming(local):
            content = await directory.read(name, offset=offset)
        try:
            info = content.info
            executable = bool(info.mode & 0o111) or None
            yield Opened(_named(content.chunks, local), info.size, info.revision, executable)
        finally:
            await content.aclose()
    finally:
        await directory.aclose()


async def save(local: PathText | Sink, chunks: AsyncIterator[bytes], *, executable: bool | None = None) -> None:
    """Write what arrives: a path atomically, so that after any failure the old file is there. Raises DevboxError
    with the path as it was written, and what the stream raises as it is."""
    if isinstance(local, Sink):
        async for chunk in chunks:
            await asyncio.to_thread(local.write, chunk)
        return
    passed = _Passed(chunks)
    with naming(local, passed):
        directory, name = _place(local)
        try:
            await directory.write(name, passed, executable=executable)
        finally:
            await directory.aclose()


class _Passed(AsyncIterator[bytes]):
    """A stream that remembers what ended it."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.error: DevboxError | None = None

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except DevboxError as error:
            self.error = error
            raise


@contextmanager
def naming(local: PathText, passed: _Passed | None = None) -> Iterator[None]:
    """Let errors in the block tell the local path as it was written, except one that a stream brought along."""
    try:
        yield
    except DevboxError as error:
        if passed is None or error is not passed.error:
            error.path = os.fspath(local)
            error.detail = f"on this machine: {error.detail}"
            error.hint = ""
        raise


def _place(local: PathText) -> tuple[Backend, SandboxPath]:
    """Return the directory that a file lies in, open, and its name there; links are followed as by ``open``."""
    path = Path(os.path.realpath(local))
    return open_directory(str(path.parent)), SandboxPath(path.name or ".")


async def _named(chunks: AsyncIterator[bytes], local: PathText) -> AsyncIterator[bytes]:
    with naming(local):
        async for chunk in chunks:
            yield chunk


async def _read(file: Source) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(file.read, _CHUNK):
        if not isinstance(chunk, bytes | bytearray | memoryview):
            raise TypeError("this file is open as text: open it as a binary one")
        yield chunk
