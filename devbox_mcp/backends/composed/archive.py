"""A zip of what lists tell and reads bring, packed here while it is read."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import anyio

from devbox_mcp.backends.base import Backend, Progress
from devbox_mcp.backends.composed.ahead import Open, read_ahead
from devbox_mcp.backends.composed.small import GONE, Resolver, as_one, closing, of_one
from devbox_mcp.backends.composed.walk import Walk
from devbox_mcp.errors import Conflict, DevboxError
from devbox_mcp.guest.zipping import PIECE, Packer
from devbox_mcp.models import Archive, FileInfo
from devbox_mcp.paths import SandboxPath

_TYPES = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "symlink": stat.S_IFLNK}
#: Packing so much takes a moment that an event loop does not notice.
_AT_ONCE = 16 << 10


async def open_archive(
    backend: Backend, paths: Sequence[SandboxPath], max_bytes: int, max_files: int, on_progress: Progress | None
) -> Archive:
    """Answer as ``Backend.archive``. Raises what ``stat`` raises."""
    packing = _Packing(backend, await _select(backend, paths), Packer(max_bytes, max_files), on_progress)
    archive = Archive(packing.chunks())
    packing.archive = archive
    return archive


async def _select(backend: Backend, paths: Sequence[SandboxPath]) -> list[FileInfo]:
    """Return what was asked for, without what lies in something else of it. A link stands for itself."""
    resolver = Resolver(backend)
    found: dict[tuple[str, ...], FileInfo] = {}
    for path in paths:
        await backend.stat(path, follow=False)  # what is wrong with it is told by the name that was asked for
        info = await backend.stat(await resolver.resolve(path, follow=False), follow=False)
        found[() if info.path.is_root else tuple(info.path.text.split("/"))] = info
    outermost = [parts for parts in found if not any(parts[:depth] in found for depth in range(len(parts)))]
    outermost.sort(key=lambda parts: [os.fsencode(part) for part in parts])
    return [found[parts] for parts in outermost]


class _Packing:
    """One archive. What is gone by now is left out; what cannot be read, or is no file, is skipped."""

    archive: Archive

    def __init__(
        self, backend: Backend, selected: Sequence[FileInfo], packer: Packer, on_progress: Progress | None
    ) -> None:
        self._backend = backend
        self._selected = selected
        self._packer = packer
        self._on_progress = on_progress

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of the zip."""
        with self._packer as packer:
            for info in self._selected:
                async with (
                    aclosing(self._entries(info)) as listed,
                    aclosing(read_ahead(self._backend, listed, _is_file)) as entries,
                ):
                    async for entry, open_file in entries:
                        with as_one("archive"):
                            async with aclosing(self._add(entry, open_file)) as steps:
                                async for _ in steps:
                                    for piece in packer.ready():
                                        yield piece
            for piece in packer.finish():
                yield piece
            self.archive.files, self.archive.bytes = packer.files, packer.bytes
            self.archive.skipped = [SandboxPath(text) for text in packer.skipped]

    async def _entries(self, info: FileInfo) -> AsyncGenerator[FileInfo, None]:
        """Yield what was asked for, unless it is the root, and all that is beneath it."""
        if not info.path.is_root:
            yield info
        if info.type != "directory":
            return
        walk = Walk(self._backend, info.path, ignored=True, details=True)
        try:
            with as_one("archive"):
                async with aclosing(walk.entries()) as entries:
                    async for entry in entries:
                        yield entry
        except GONE:
            return
        except DevboxError as error:
            if not of_one(error):
                raise
            self._skip(info.path)
        for path in walk.unreadable:
            self._skip(path)

    def _skip(self, path: SandboxPath) -> None:
        self._packer.skipped.append(path.text)

    async def _add(self, entry: FileInfo, open_file: Open) -> AsyncGenerator[None, None]:
        """Add an entry, with a pause after each piece of it."""
        kind = _TYPES.get(entry.type)
        if kind is None:
            self._skip(entry.path)
        elif entry.type != "file":
            content = os.fsencode(entry.target) if entry.target is not None else b""
            self._packer.add(entry.path.text, kind | entry.mode, int(entry.modified // 1), content)
            yield
        else:
            async with aclosing(self._add_file(entry.path, open_file)) as steps:
                async for step in steps:
                    yield step

    async def _add_file(self, path: SandboxPath, open_file: Open) -> AsyncGenerator[None, None]:
        try:
            content = await open_file()
        except GONE:
            return
        except DevboxError as error:
            if not of_one(error) or isinstance(error, Conflict):
                raise
            self._skip(path)
            return
        async with closing(content):
            info = content.info
            if not self._packer.begin(path.text, stat.S_IFREG | info.mode, int(info.modified // 1), info.size):
                return
            async for chunk in content:
                for start in range(0, len(chunk), PIECE):
                    piece = chunk[start : start + PIECE]
                    await _beside(self._packer.write, piece)
                    if self._on_progress is not None:
                        self._on_progress(self._packer.bytes, None)
                    yield
            self._packer.end()
        yield


def _is_file(entry: FileInfo) -> bool:
    return entry.type == "file"


async def _beside(work: Callable[[bytes], None], data: bytes) -> None:
    """Do work on bytes, in a thread where it is more than a moment's; not left alone there by whoever is
    cancelled."""
    if len(data) <= _AT_ONCE:
        work(data)
        return
    with anyio.CancelScope(shield=True):
        await asyncio.to_thread(work, data)
