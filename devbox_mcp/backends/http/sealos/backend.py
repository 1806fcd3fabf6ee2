"""A devbox behind Sealos' own server in the pod (port 9757), which can do less than the contract asks for.

Composed here: a description from the parent's listing; a range by reading from the beginning; a write by a temporary
beside the file, read back, compared and renamed, so that it is verified and as atomic as the server's rename; copies
of files, whole lines, searching, finding, zips. What cannot be kept is Unsupported and says why.

What this server does not give, whoever asks: it confines nothing, and a listing does not tell links. So paths stay
beneath the root by their letters (this project never sends ``..``), but a link in the devbox that leads out of it is
followed by the server. Nothing is flushed to disk before success is told, and there is no lock among writers.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from devbox_mcp import paths
from devbox_mcp.backends.composed import Composed
from devbox_mcp.backends.composed.small import as_one
from devbox_mcp.backends.http.asking import Asking
from devbox_mcp.backends.http.sealos.calls import MOST_LISTINGS, Calls, pieces
from devbox_mcp.backends.http.sealos.lacks import LACKS, unsupported
from devbox_mcp.backends.http.sealos.places import Places, parent
from devbox_mcp.backends.http.sealos.walk import Walk
from devbox_mcp.backends.http.sealos.writing import Writing
from devbox_mcp.backends.pieces import once
from devbox_mcp.errors import (
    DevboxError,
    Exists,
    InvalidArgument,
    IsDirectory,
    NotEmpty,
    Unsupported,
)
from devbox_mcp.guest.globs import Glob
from devbox_mcp.models import (
    BatchItem,
    BatchOutcome,
    Capability,
    Content,
    Description,
    Events,
    FileInfo,
    Page,
    WriteMode,
    Written,
)
from devbox_mcp.paths import ROOT, SandboxPath


class SealosBackend(Composed):
    """The files beneath ``root``, by the routes of Sealos' server."""

    capabilities = frozenset({Capability.LINES, Capability.SEARCH, Capability.ARCHIVE})

    def __init__(self, origin: str, key: str | None, root: str, most_listings: int = MOST_LISTINGS) -> None:
        """See ``open``."""
        super().__init__()
        self._asking = Asking(f"{origin}/api/v1", key, tunnel=False)
        self._calls = Calls(self._asking, posixpath.normpath(root), most_listings)
        self._places = Places(self._calls)
        self._writing = Writing(self._calls, self._places)

    @classmethod
    async def open(
        cls, origin: str, key: str | None, root: str, *, most_listings: int = MOST_LISTINGS
    ) -> SealosBackend:
        """Open the files beneath a directory, which is looked at. ``most_listings`` is how many directories a tree may
        have. Raises NotFound, Unauthenticated, …"""
        backend = cls(origin, key, root, most_listings)
        try:
            await backend._calls.entries(ROOT, "open")
        except BaseException:
            await backend.aclose()
            raise
        return backend

    async def describe(self) -> Description:
        return Description("sealos", {"server": self._asking.origin, "root": self._calls.root}, LACKS)

    async def root(self) -> str:
        self._asking.check_open("open", ".")
        return self._calls.root

    async def relative(self, absolute: str) -> SandboxPath | None:
        self._asking.check_open("resolve", ".")
        below = paths.beneath(absolute, self._calls.root)
        return None if below is None else SandboxPath(below)

    async def stat(self, path: SandboxPath, *, follow: bool = True, sha256: bool = False) -> FileInfo:
        del follow  # links are not told
        info = await self._places.find(path, "stat")
        if not sha256 or info.type != "file":
            return info
        content = await self.read(path)
        digest = hashlib.sha256()
        async for chunk in content:
            digest.update(chunk)
        return replace(content.info, sha256=digest.hexdigest())

    async def list(
        self,
        path: SandboxPath,
        *,
        depth: int = 1,
        glob: str | None = None,
        limit: int = 1000,
        after: SandboxPath | None = None,
        details: bool = False,
    ) -> Page:
        if depth < 1 or limit < 1:
            raise InvalidArgument("list", path.text, "depth and limit are at least 1")
        self._places.check(path, "list")
        if after is not None and not path.is_root and not after.text.startswith(f"{path.text}/"):
            raise InvalidArgument("list", path.text, "the cursor is of another listing")
        with as_one("list"):
            wanted = None if glob is None else Glob(glob)
        await self._places.require_directory(path, "list")
        walk = Walk(self._calls, path, depth=depth, glob=wanted, limit=limit, after=after)
        await walk.run()
        found = walk.found if details else [FileInfo(info.path, info.type) for info in walk.found]
        return Page(found, found[-1].path if walk.more and found else None, walk.unreadable)

    async def read(self, path: SandboxPath, *, offset: int = 0, length: int | None = None) -> Content:
        info = await self._places.find(path, "read")
        if info.type == "directory":
            raise IsDirectory("read", path.text)
        response = await self._calls.content(path, "read")
        size = int(response.headers["content-length"])
        start = min(offset, size)
        end = size if length is None else min(start + length, size)
        info = replace(info, size=size)
        if start == end:
            await response.aclose()
            return Content(info, start, once(b""))
        return Content(info, start, pieces(response, path, start, end))

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
        self._asking.check_open("write", path.text)
        return await self._writing.write(
            path, data, mode=mode, if_match=if_match, executable=executable, in_place=in_place
        )

    async def mkdir(self, path: SandboxPath) -> bool:
        found = await self._places.find_or_none(path, "mkdir")
        if found is None:
            await self._writing.make(path, "mkdir")
            return True
        if found.type != "directory":
            raise Exists("mkdir", path.text)
        return False

    async def delete(self, path: SandboxPath, *, recursive: bool = False, if_match: str | None = None) -> int:
        if if_match is not None:
            raise unsupported("delete", path, "versions")
        if path.is_root:
            raise InvalidArgument("delete", ".", "the root cannot be deleted")
        info = await self._places.find(path, "delete")
        count = 1
        if info.type == "directory":
            beneath = await self._places.count(path)
            if beneath and not recursive:
                raise NotEmpty("delete", path.text)
            count += beneath
        fields = {"path": self._calls.absolute(path, "delete"), "recursive": info.type == "directory"}
        await self._calls.post("delete", path, "delete", fields)
        return count

    async def move(
        self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False, if_match: str | None = None
    ) -> FileInfo:
        if if_match is not None:
            raise unsupported("move", source, "versions")
        old = await self._movable(source, destination, "move")
        there = await self._places.find_or_none(destination, "move")
        if there is not None:
            if not overwrite:
                raise Exists("move", destination.text)
            if there.type == "directory" and await self._places.count(destination):
                raise NotEmpty("move", destination.text)
            if there.type == "directory":
                raise Unsupported("move", destination.text, "this server may only replace files")
            if old.type == "directory":
                raise Exists("move", destination.text, "a directory does not replace a file")
        if await self._places.missing(parent(destination), "move"):
            await self._writing.make(parent(destination), "move")
        await self._writing.rename(source, destination, overwrite=overwrite, op="move")
        return await self._places.find(destination, "move")

    async def copy(self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False) -> FileInfo:
        old = await self._movable(source, destination, "copy")
        if old.type == "directory":
            raise unsupported("copy", source, "directories")
        there = await self._places.find_or_none(destination, "copy")
        if there is not None and not overwrite:
            raise Exists("copy", destination.text)
        content = await self.read(source)
        try:
            await self.write(destination, content.chunks, mode="overwrite" if overwrite else "create")
        except DevboxError as error:
            error.op = "copy"
            raise
        finally:
            await content.aclose()
        await self._writing.chmod(destination, old.mode, recursive=False, op="copy")
        return await self._places.find(destination, "copy")

    async def chmod(self, path: SandboxPath, mode: int, *, recursive: bool = False) -> int:
        if not 0 <= mode <= 0o1777:
            raise InvalidArgument("chmod", path.text, "setuid and setgid are refused")
        info = await self._places.find(path, "chmod")
        count = 1 + (await self._places.count(path) if recursive and info.type == "directory" else 0)
        await self._writing.chmod(path, mode, recursive=recursive, op="chmod")
        return count

    async def watch(
        self,
        path: SandboxPath,
        *,
        cursor: str | None = None,
        timeout: float = 4.0,
        recursive: bool = True,
        limit: int = 1000,
    ) -> Events:
        raise unsupported("watch", path, "watching")

    async def write_batch(self, items: Sequence[BatchItem], *, atomic: bool = False) -> Sequence[BatchOutcome]:
        raise unsupported("write", items[0].path if items else ROOT, "batches")

    async def aclose(self) -> None:
        await super().aclose()
        await self._asking.aclose()

    async def _movable(self, source: SandboxPath, destination: SandboxPath, op: str) -> FileInfo:
        if source.is_root or destination.is_root:
            raise InvalidArgument(op, ".", "the root stays where it is")
        self._places.check(destination, op)
        found = await self._places.find(source, op)
        within = found.type == "directory" and f"{destination.text}/".startswith(f"{source.text}/")
        if within or source == destination:
            raise InvalidArgument(op, destination.text, "this is the source, or in it")
        return found
