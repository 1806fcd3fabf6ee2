"""File objects on files of a devbox, for whatever reads and writes files.

They are synchronous as all of Python's are; the coroutines that they need are run by ``Run``, which blocks.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TextIO, TypeVar

from devbox_mcp.client.connection import Connection, PathText
from devbox_mcp.errors import Conflict, Exists, InvalidArgument, NotFound
from devbox_mcp.limits import KIB, MIB
from devbox_mcp.models import FileInfo, WriteMode
from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandbox import Sandbox

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

T = TypeVar("T")

#: What is read at first, and at most, of a file that is read from its beginning to its end.
_FIRST = 256 * KIB
_MOST = 8 * MIB
_BUFFER = 64 * KIB
#: What a file object that is written keeps in memory, and what is sent in one piece.
_SPOOL = 8 * MIB
_PIECE = MIB
_MODES: dict[str, WriteMode] = {"w": "overwrite", "x": "create", "a": "append"}


class Run(Protocol):
    """Runs a coroutine from another thread than its loop's, and waits for it."""

    def __call__(self, work: Coroutine[Any, Any, T], /) -> T:
        """Return what the coroutine returns."""


async def open_file(
    connection: Connection,
    path: PathText,
    mode: str,
    run: Run,
    *,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
    if_match: str | None,
) -> BinaryIO | TextIO:
    """Open a file object as the builtin ``open`` does. Raises InvalidArgument, and what reading does."""
    sandbox, parsed = await connection.at(path, "open")
    kind = mode.replace("b", "", 1).replace("t", "", 1)
    text = "b" not in mode
    if kind not in ("r", *_MODES) or ("t" in mode and not text):
        raise InvalidArgument("open", parsed.text, f"there is no mode {mode!r}", hint="use r, w, a or x, with b or t")
    if not text and (encoding or errors or newline):
        raise InvalidArgument("open", parsed.text, "bytes have no encoding, errors or newline")
    if kind == "r":
        content = await sandbox.read_bytes(parsed, length=_FIRST)
        if if_match is not None:
            await _check(sandbox, content.info, if_match)
        raw = _Ranges(connection, content.info, await content.read(), run)
        reader = _Reader(raw, _BUFFER)
        return io.TextIOWrapper(reader, encoding or "utf-8", errors, newline) if text else reader
    spool = _Spool(connection, parsed, _MODES[kind], run, await _begins(sandbox, parsed, kind), if_match)
    # what os.linesep is here has no meaning there
    return _TextWriter(spool, encoding or "utf-8", errors, newline or "\n") if text else _Writer(spool)


async def _check(sandbox: Sandbox, info: FileInfo, if_match: str) -> None:
    known = info if info.sha256 is not None else await sandbox.stat(info.path, sha256=True)
    if known.revision != info.revision or not (known.sha256 or "").startswith(if_match) or len(if_match) < 12:
        raise Conflict("open", info.path.text, "the file is not the version that if_match names", sha256=known.sha256)


async def _begins(sandbox: Sandbox, path: SandboxPath, kind: str) -> int:
    """Return where writing begins. Raises Exists now for what would be refused at the end."""
    if kind == "w":
        return 0
    try:
        info = await sandbox.stat(path)
    except NotFound:
        return 0
    if kind == "x":
        raise Exists("open", path.text, hint="mode w replaces it")
    return info.size


class _Ranges(io.RawIOBase):
    """A file's bytes by ranges, all of the version that was opened. Ranges grow while it is read in order."""

    def __init__(self, connection: Connection, info: FileInfo, head: bytes, run: Run) -> None:
        self._connection = connection
        self._info = info
        self._run = run
        self._window = head
        self._start = 0
        self._position = 0
        self._ahead = _FIRST

    @property
    def size(self) -> int:
        """The size of that version, in bytes."""
        return self._info.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._info.size}[whence]
        if base + offset < 0:
            raise InvalidArgument("read", self._info.path.text, f"there is nothing at {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self._info.size - self._position)
        if wanted <= 0:
            return 0
        end = self._start + len(self._window)
        if not self._start <= self._position < end:
            self._ahead = min(self._ahead * 2, _MOST) if self._position == end else _FIRST
            self._window = self._run(self._range(max(wanted, self._ahead)))
            self._start = self._position
        begin = self._position - self._start
        piece = self._window[begin : begin + wanted]
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def readall(self) -> bytes:
        end = self._start + len(self._window)
        if self._start <= self._position and end == self._info.size:
            data = self._window[self._position - self._start :]
        else:
            data = self._run(self._range(None)) if self._position < self._info.size else b""
        self._position += len(data)
        return data

    async def _range(self, length: int | None) -> bytes:
        sandbox = await self._connection.core.sandbox()
        content = await sandbox.read_bytes(self._info.path, offset=self._position, length=length)
        if content.info.revision != self._info.revision:
            await content.aclose()
            raise Conflict(
                "read", self._info.path.text, "the file was changed since it was opened", hint="open it again"
            )
        return await content.read()


class _Reader(io.BufferedReader):
    """What is read, with the ``size`` in bytes that some programs ask of file objects."""

    def __init__(self, raw: _Ranges, buffer: int) -> None:
        super().__init__(raw, buffer)
        self.size = raw.size


class _Spool(io.RawIOBase):
    """Bytes that become a file when this is closed. Until then they are on this machine: in memory, or in a temporary
    file where there are many."""

    def __init__(
        self, connection: Connection, path: SandboxPath, mode: WriteMode, run: Run, begins: int, if_match: str | None
    ) -> None:
        self.path = path
        self.given_up = False
        self._connection = connection
        self._mode = mode
        self._run = run
        self._begins = begins
        self._if_match = if_match
        self._spool = tempfile.SpooledTemporaryFile(max_size=_SPOOL)  # noqa: SIM115  closed with this

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._mode != "append"

    def tell(self) -> int:
        return self._begins + self._spool.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if not self.seekable():
            raise io.UnsupportedOperation("what is appended is written in order")
        return self._spool.seek(offset, whence)

    def truncate(self, size: int | None = None) -> int:
        kept = self._spool.tell() if size is None else size
        self._spool.truncate(kept)
        return kept

    def write(self, data: ReadableBuffer) -> int:
        return self._spool.write(data)

    def close(self) -> None:
        if self.closed:
            return
        try:
            if not (self.given_up or _raised_in_fsspec()):
                self._run(self._commit())
        finally:
            self._spool.close()
            super().close()

    def __del__(self) -> None:
        """Nobody closed it: what is there may be half of what was meant."""
        if self.closed:
            return
        self.given_up = True
        try:
            warnings.warn(f"{self.path} was never closed, and so not written", ResourceWarning, stacklevel=2)
        finally:
            self.close()

    async def _commit(self) -> None:
        sandbox = await self._connection.core.sandbox()
        size = self._spool.seek(0, os.SEEK_END)
        self._spool.seek(0)
        data = self._pieces() if size > _PIECE else self._spool.read()
        await sandbox.write(self.path, data, mode=self._mode, if_match=self._if_match)

    async def _pieces(self) -> AsyncIterator[bytes]:
        while piece := await asyncio.to_thread(self._spool.read, _PIECE):
            yield piece


def _raised_in_fsspec() -> bool:
    """Whether a ``with fsspec.open(…)`` block that raised is what closes a file. Its ``__exit__`` closes everything
    and tells nobody why, so it has to be looked at."""
    frame = sys._getframe() if sys.exc_info()[1] is not None else None  # noqa: SLF001  inspect reads source files
    while frame is not None:
        if frame.f_code.co_name == "__exit__" and frame.f_globals.get("__name__") == "fsspec.core":
            return any(frame.f_locals.get("args", ()))
        frame = frame.f_back
    return False


class _Writer(io.BufferedWriter):
    """What is written becomes the file when this is closed. If its ``with`` block raises, or nobody closes it, nothing
    does."""

    def __init__(self, spool: _Spool) -> None:
        super().__init__(spool, _BUFFER)
        self._spool = spool

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.given_up = self._spool.given_up or kind is not None
        self.close()

    def __del__(self) -> None:
        self._spool.__del__()


class _TextWriter(io.TextIOWrapper):
    """The same for text."""

    def __init__(self, spool: _Spool, encoding: str, errors: str | None, newline: str) -> None:
        super().__init__(_Writer(spool), encoding, errors, newline)
        self._spool = spool

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.given_up = self._spool.given_up or kind is not None
        self.close()

    def __del__(self) -> None:
        self._spool.__del__()
