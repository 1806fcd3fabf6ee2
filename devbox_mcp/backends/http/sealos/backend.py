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
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import anyio

from devbox_mcp import paths
from devbox_mcp.backends.composed import Composed
from devbox_mcp.backends.composed.small import as_one
from devbox_mcp.backends.http.asking import Asking
from devbox_mcp.backends.http.sealos.calls import Calls, pieces
from devbox_mcp.backends.http.sealos.walk import Walk
from devbox_mcp.backends.pieces import once
from devbox_mcp.errors import (
    DevboxError,
    Exists,
    Integrity,
    InvalidArgument,
    IsDirectory,
    NotDirectory,
    NotEmpty,
    NotFound,
    Unsupported,
)
from devbox_mcp.guest.globs import Glob
from devbox_mcp.guest.names import OWN_PREFIX
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

_LACKS = {
    "versions": "the server cannot compare and replace in one step, so if_match cannot be kept",
    "append": "the server has no append, and to write old and new together would lose what others add meanwhile",
    "directories": "the server has no mkdir, does not make directories for a file, or would not copy them whole",
    "batches": "the server's many files at once are neither atomic nor verified",
    "watching": "the server tells times in seconds and no inode, so changes would be missed",
    "uploads in parts": "the server takes a file in one request only",
    "links": "the server does not tell them, and follows them wherever they lead",
}
_ANY_DEPTH, _ANY_NUMBER = 10_000, 1 << 40


class SealosBackend(Composed):
    """The files beneath ``root``, by the routes of Sealos' server."""

    capabilities = frozenset({Capability.LINES, Capability.SEARCH, Capability.ARCHIVE})

    def __init__(self, origin: str, key: str | None, root: str) -> None:
        super().__init__()
        self._asking = Asking(f"{origin}/api/v1", key, tunnel=False)
        self._calls = Calls(self._asking, posixpath.normpath(root))

    @classmethod
    async def open(cls, origin: str, key: str | None, root: str) -> SealosBackend:
        """Open the files beneath a directory, which is looked at. Raises NotFound, Unauthenticated, …"""
        backend = cls(origin, key, root)
        try:
            await backend._calls.entries(ROOT, "open")
        except BaseException:
            await backend.aclose()
            raise
        return backend

    async def describe(self) -> Description:
        return Description("sealos", {"server": self._asking.origin, "root": self._calls.root}, _LACKS)

    async def root(self) -> str:
        self._asking.check_open("open", ".")
        return self._calls.root

    async def relative(self, absolute: str) -> SandboxPath | None:
        self._asking.check_open("resolve", ".")
        below = paths.beneath(absolute, self._calls.root)
        return None if below is None else SandboxPath(below)

    async def stat(self, path: SandboxPath, *, follow: bool = True, sha256: bool = False) -> FileInfo:
        del follow  # links are not told
        info = await self._find(path, "stat")
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
        self._check(path, "list")
        if after is not None and not path.is_root and not after.text.startswith(f"{path.text}/"):
            raise InvalidArgument("list", path.text, "the cursor is of another listing")
        with as_one("list"):
            wanted = None if glob is None else Glob(glob)
        await self._require_directory(path, "list")
        walk = Walk(self._calls, path, depth=depth, glob=wanted, limit=limit, after=after)
        await walk.run()
        found = walk.found if details else [FileInfo(info.path, info.type) for info in walk.found]
        return Page(found, found[-1].path if walk.more and found else None, walk.unreadable)

    async def read(self, path: SandboxPath, *, offset: int = 0, length: int | None = None) -> Content:
        info = await self._find(path, "read")
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
        if if_match is not None:
            raise _unsupported("write", path, "versions")
        if mode == "append":
            raise _unsupported("write", path, "append")
        if in_place:
            raise Unsupported("write", path.text, "whether this server keeps a file's inode is not known")
        old = await self._find_or_none(path, "write")
        if old is not None and mode == "create":
            raise Exists("write", path.text)
        if old is not None and old.type == "directory":
            raise IsDirectory("write", path.text)
        missing = await self._missing(_parent(path), "write")
        temporary = _parent(path).child(f"{OWN_PREFIX}part-{secrets.token_hex(8)}")
        try:
            size, sha256 = await self._stage(temporary, once(data) if isinstance(data, bytes) else data, path)
            permissions = _permissions(old, executable)
            if permissions is not None:
                await self._chmod(temporary, permissions, recursive=False, op="write")
            await self._rename(temporary, path, overwrite=mode == "overwrite", op="write")
        except BaseException:
            with anyio.CancelScope(shield=True):
                for left in (temporary, *missing):  # a directory goes only where it is empty
                    await self._calls.remove_quietly(left)
            raise
        info = await self._find(path, "write")
        return Written(replace(info, size=size, sha256=sha256), created=old is None)

    async def _stage(self, temporary: SandboxPath, data: AsyncIterator[bytes], path: SandboxPath) -> tuple[int, str]:
        """Write what is to become a file beside it, and read it back. Return its size and hash."""
        digest = hashlib.sha256()
        size = 0

        async def hashed() -> AsyncIterator[bytes]:
            nonlocal size
            async for piece in data:
                digest.update(piece)
                size += len(piece)
                yield piece

        await self._calls.put(temporary, hashed())
        back = hashlib.sha256()
        response = await self._calls.content(temporary, "write")
        length = int(response.headers["content-length"])
        async for chunk in pieces(response, path, 0, length):
            back.update(chunk)
        if back.digest() != digest.digest():
            raise Integrity("write", path.text, "what lies on the server are not the bytes that were sent")
        return size, digest.hexdigest()

    async def mkdir(self, path: SandboxPath) -> bool:
        found = await self._find_or_none(path, "mkdir")
        if found is None:
            await self._make(path, "mkdir")
            return True
        if found.type != "directory":
            raise Exists("mkdir", path.text)
        return False

    async def delete(self, path: SandboxPath, *, recursive: bool = False, if_match: str | None = None) -> int:
        if if_match is not None:
            raise _unsupported("delete", path, "versions")
        if path.is_root:
            raise InvalidArgument("delete", ".", "the root cannot be deleted")
        info = await self._find(path, "delete")
        count = 1
        if info.type == "directory":
            beneath = await self._count(path)
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
            raise _unsupported("move", source, "versions")
        old = await self._movable(source, destination, "move")
        there = await self._find_or_none(destination, "move")
        if there is not None:
            if not overwrite:
                raise Exists("move", destination.text)
            if there.type == "directory" and await self._count(destination):
                raise NotEmpty("move", destination.text)
            if there.type == "directory":
                raise Unsupported("move", destination.text, "this server may only replace files")
            if old.type == "directory":
                raise Exists("move", destination.text, "a directory does not replace a file")
        if await self._missing(_parent(destination), "move"):
            await self._make(_parent(destination), "move")
        await self._rename(source, destination, overwrite=overwrite, op="move")
        return await self._find(destination, "move")

    async def copy(self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False) -> FileInfo:
        old = await self._movable(source, destination, "copy")
        if old.type == "directory":
            raise _unsupported("copy", source, "directories")
        there = await self._find_or_none(destination, "copy")
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
        await self._chmod(destination, old.mode, recursive=False, op="copy")
        return await self._find(destination, "copy")

    async def chmod(self, path: SandboxPath, mode: int, *, recursive: bool = False) -> int:
        if not 0 <= mode <= 0o1777:
            raise InvalidArgument("chmod", path.text, "setuid and setgid are refused")
        info = await self._find(path, "chmod")
        count = 1 + (await self._count(path) if recursive and info.type == "directory" else 0)
        await self._chmod(path, mode, recursive=recursive, op="chmod")
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
        raise _unsupported("watch", path, "watching")

    async def write_batch(self, items: Sequence[BatchItem], *, atomic: bool = False) -> Sequence[BatchOutcome]:
        raise _unsupported("write", items[0].path if items else ROOT, "batches")

    async def aclose(self) -> None:
        await super().aclose()
        await self._asking.aclose()

    async def _find(self, path: SandboxPath, op: str) -> FileInfo:
        """Return an entry by its parent's listing. Raises NotFound, NotDirectory."""
        self._check(path, op)
        self._asking.check_open(op, path.text)
        if path.is_root:
            await self._calls.entries(path, op)
            return FileInfo(ROOT, "directory", mode=0o755, revision="-root")
        above = _parent(path)
        try:
            entries = await self._calls.entries(above, op)
        except DevboxError as error:
            if error.retryable or above.is_root:
                raise
            await self._require_directory(above, op, path)
            raise
        for info in entries:
            if info.path == path:
                return info
        raise NotFound(op, path.text)

    async def _find_or_none(self, path: SandboxPath, op: str) -> FileInfo | None:
        try:
            return await self._find(path, op)
        except NotFound:
            return None

    async def _missing(self, path: SandboxPath, op: str) -> Sequence[SandboxPath]:
        """Return those of a directory and its parents that are not there, the lowest first. Raises NotDirectory."""
        missing: tuple[SandboxPath, ...] = ()
        while (info := await self._find_or_none(path, op)) is None:
            missing = (*missing, path)
            path = _parent(path)
        if info.type != "directory":
            raise NotDirectory(op, path.text)
        return missing

    async def _make(self, path: SandboxPath, op: str) -> None:
        """Make a directory with its parents, by a file in it that goes again: where the server makes them for a file.
        Raises Unsupported where it does not."""
        missing = await self._missing(path, op)
        temporary = path.child(f"{OWN_PREFIX}part-{secrets.token_hex(8)}")
        try:
            await self._calls.put(temporary, once(b""))
        except DevboxError as error:
            for left in missing:
                await self._calls.remove_quietly(left)
            if error.retryable:
                raise
            raise _unsupported(op, path, "directories") from error
        await self._calls.remove_quietly(temporary)
        if await self._find_or_none(path, op) is None:
            raise _unsupported(op, path, "directories")

    async def _require_directory(self, path: SandboxPath, op: str, asked: SandboxPath | None = None) -> None:
        if path.is_root:
            return
        try:
            info = await self._find(path, op)
        except NotFound:
            raise NotFound(op, (asked or path).text) from None
        if info.type != "directory":
            raise NotDirectory(op, (asked or path).text)

    async def _movable(self, source: SandboxPath, destination: SandboxPath, op: str) -> FileInfo:
        if source.is_root or destination.is_root:
            raise InvalidArgument(op, ".", "the root stays where it is")
        self._check(destination, op)
        found = await self._find(source, op)
        within = found.type == "directory" and f"{destination.text}/".startswith(f"{source.text}/")
        if within or source == destination:
            raise InvalidArgument(op, destination.text, "this is the source, or in it")
        return found

    async def _count(self, path: SandboxPath) -> int:
        """Return how many entries are beneath a directory."""
        walk = Walk(self._calls, path, depth=_ANY_DEPTH, limit=_ANY_NUMBER)
        await walk.run()
        return len(walk.found)

    async def _chmod(self, path: SandboxPath, mode: int, *, recursive: bool, op: str) -> None:
        fields = {"path": self._calls.absolute(path, op), "mode": f"{mode:04o}", "recursive": recursive}
        await self._calls.post(op, path, "chmod", fields)

    async def _rename(self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool, op: str) -> None:
        fields = {
            "source": self._calls.absolute(source, op), "destination": self._calls.absolute(destination, op),
            "overwrite": overwrite,
        }  # fmt: skip
        await self._calls.post(op, destination, "move", fields)

    def _check(self, path: SandboxPath, op: str) -> None:
        """Refuse the names of this project's own temporaries."""
        for part in path.text.split("/"):
            if part.startswith(OWN_PREFIX):
                raise InvalidArgument(op, path.text, f"names that begin with {OWN_PREFIX} are the server's own")


def _unsupported(op: str, path: SandboxPath, what: str) -> Unsupported:
    return Unsupported(op, path.text, _LACKS[what])


def _parent(path: SandboxPath) -> SandboxPath:
    return SandboxPath(path.text.rpartition("/")[0] or ".")


def _permissions(old: FileInfo | None, executable: bool | None) -> int | None:
    """Return what a new file's bits are to be: the old one's, with or without the executable ones."""
    if old is None and executable is None:
        return None
    mode = 0o644 if old is None else old.mode
    if executable:
        return mode | (mode & 0o444) >> 2
    return mode & ~0o111 if executable is False else mode
