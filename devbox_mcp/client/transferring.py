"""Zips and big files, streamed: nothing holds more of them than a few pieces."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import overload

from devbox_mcp.client import here
from devbox_mcp.client.changing import AsyncChanging
from devbox_mcp.client.connection import PathText, listed
from devbox_mcp.client.here import Sink, Source
from devbox_mcp.client.sending import Progress, Sending, Wanted
from devbox_mcp.client.shapes import Archived, Transferred
from devbox_mcp.errors import Conflict, Integrity
from devbox_mcp.limits import MIB
from devbox_mcp.models import Capability, Content, Written
from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandbox import Sandbox

#: Hashing so many bytes takes a moment that an event loop does not notice.
_AT_ONCE = 64 * 1024
#: From this size on it is worth to keep what has arrived.
_LARGE = 10 * MIB


class AsyncTransferring(AsyncChanging):
    """What moves files between this machine and the devbox."""

    @overload
    async def download_files(
        self, paths: Sequence[PathText], *, to: None = None, on_progress: Progress | None = None
    ) -> bytes: ...

    @overload
    async def download_files(
        self, paths: Sequence[PathText], *, to: PathText | Sink, on_progress: Progress | None = None
    ) -> Archived: ...

    @overload
    async def download_files(
        self, paths: Sequence[PathText], *, to: PathText | Sink | None, on_progress: Progress | None = None
    ) -> bytes | Archived: ...

    async def download_files(
        self, paths: Sequence[PathText], *, to: PathText | Sink | None = None, on_progress: Progress | None = None
    ) -> bytes | Archived:
        """Pack files and directories (``.`` is everything) into a zip and return it; with ``to``, save it there, a
        local path (written atomically) or an open binary file. Links are stored as links; modes and times are kept.
        ``on_progress`` is told bytes that were packed, and all there are.

        Raises NotFound, Unsupported where the devbox cannot make one.
        """
        sandbox = await self._connection.core.sandbox()
        items = [(await self._connection.at(path, "archive"))[1] for path in listed(paths, "paths")]
        archive = await sandbox.archive(items, on_progress=_quiet(on_progress))
        if to is None:
            return b"".join([chunk async for chunk in archive])
        counted = _Hashed(aiter(archive), None, None)
        await here.save(to, counted)
        return Archived(archive.files, counted.size, [path.text for path in archive.skipped])

    async def upload_large_file(
        self,
        local: PathText | Source,
        path: PathText,
        *,
        create: bool = False,
        if_match: str | None = None,
        executable: bool | None = None,
        on_progress: Progress | None = None,
    ) -> Transferred:
        """Write a file of any size from ``local``, a path on this machine or an open binary file. It is streamed,
        verified by its sha256, and takes its place only when all of it has arrived. When the connection breaks, a
        path is sent on from where the devbox says it stands, if that keeps what has arrived (all but a shell do).
        ``create`` fails if the file exists. Without ``executable``, the new file may be run if the local one may.
        ``on_progress`` is told bytes sent and all there are.

        Raises NotFound (also for ``local``), Conflict, Exists, Integrity, NoSpace, Unavailable.
        """
        sandbox, parsed = await self._connection.at(path, "write")
        async with here.source(local) as opened:
            if executable is None:
                executable = opened.executable
            wanted = Wanted("create" if create else "overwrite", if_match, executable)
            if isinstance(local, Source) or opened.size is None or not _resumed(sandbox, opened.size):
                chunks = _Hashed(opened.chunks, opened.size, on_progress)
                written = await sandbox.write(
                    parsed, chunks, mode=wanted.mode, if_match=if_match, executable=executable
                )
                return _arrived(parsed, written, chunks.size, chunks.sha256)
        sending = Sending(sandbox, parsed, local, on_progress)
        written = await sending.run(wanted)
        return _arrived(parsed, written, sending.size, sending.sha256)

    async def download_large_file(
        self, path: PathText, local: PathText | Sink, *, on_progress: Progress | None = None
    ) -> Transferred:
        """Copy a file of any size to ``local``, a path on this machine or an open binary file. It is streamed, of one
        version, and verified by its sha256 before it takes its place; an executable stays one. ``on_progress`` is
        told bytes received and all there are. ``path`` and ``created`` of the answer are the devbox's and False.

        Raises NotFound, IsDirectory, Conflict if the file is changed meanwhile, Integrity, Unavailable.
        """
        sandbox, parsed = await self._connection.at(path, "read")
        content = await sandbox.read_bytes(parsed)
        try:
            chunks = _Hashed(content.chunks, content.info.size, on_progress)
            executable = bool(content.info.mode & 0o111) or None
            await here.save(local, _verified(sandbox, content, chunks), executable=executable)
        finally:
            await content.aclose()
        return Transferred(parsed.text, chunks.size, chunks.sha256, created=False)


def _resumed(sandbox: Sandbox, size: int) -> bool:
    """Whether an upload is worth its parts, and can have them."""
    return size >= _LARGE and Capability.UPLOAD in sandbox.capabilities


def _arrived(path: SandboxPath, written: Written, size: int, sha256: str) -> Transferred:
    if written.info.sha256 != sha256:
        raise Integrity("write", path.text, "the bytes that arrived are not those that were sent", hint="try again")
    return Transferred(path.text, size, sha256, written.created)


class _Hashed(AsyncIterator[bytes]):
    """A stream that is counted and hashed as it passes."""

    def __init__(self, chunks: AsyncIterator[bytes], total: int | None, on_progress: Progress | None) -> None:
        self._chunks = chunks
        self._total = total
        self._on_progress = on_progress
        self._digest = hashlib.sha256()
        self.size = 0

    async def __anext__(self) -> bytes:
        chunk = await anext(self._chunks)
        if len(chunk) > _AT_ONCE:
            await asyncio.to_thread(self._digest.update, chunk)
        else:
            self._digest.update(chunk)
        self.size += len(chunk)
        if self._on_progress is not None:
            self._on_progress(self.size, self._total)
        return chunk

    @property
    def sha256(self) -> str:
        """The hash of what has passed, in hex."""
        return self._digest.hexdigest()


async def _verified(sandbox: Sandbox, content: Content, chunks: _Hashed) -> AsyncIterator[bytes]:
    """Yield a download, and at its end compare it with what the devbox says it should be."""
    async for chunk in chunks:
        yield chunk
    info = content.info
    if info.sha256 is None:
        known = await sandbox.stat(info.path, sha256=True)
        if known.revision != info.revision:
            raise Conflict("read", info.path.text, "the file was changed meanwhile", hint="download it again")
        info = known
    if info.sha256 != chunks.sha256:
        raise Integrity("read", info.path.text, "the bytes that arrived are not those that were sent", hint="try again")


def _quiet(on_progress: Progress | None) -> Callable[[int, int | None], None] | None:
    """Return a callback whose answer nobody reads."""
    if on_progress is None:
        return None

    def tell(done: int, total: int | None) -> None:
        on_progress(done, total)

    return tell
