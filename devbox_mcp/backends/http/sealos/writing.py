"""Writing a file: into a temporary beside it, read back and compared, and renamed over it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import anyio

from devbox_mcp.backends.http.sealos.calls import Calls, pieces
from devbox_mcp.backends.http.sealos.lacks import unsupported
from devbox_mcp.backends.http.sealos.places import Places, parent
from devbox_mcp.backends.pieces import once
from devbox_mcp.errors import DevboxError, Exists, Integrity, IsDirectory, Unsupported
from devbox_mcp.guest.names import OWN_PREFIX
from devbox_mcp.models import FileInfo, WriteMode, Written
from devbox_mcp.paths import SandboxPath


class Writing:
    """What makes and changes entries."""

    def __init__(self, calls: Calls, places: Places) -> None:
        self._calls = calls
        self._places = places

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
        """See ``Backend.write``."""
        self._places.check(path, "write")
        if if_match is not None:
            raise unsupported("write", path, "versions")
        if mode == "append":
            raise unsupported("write", path, "append")
        if in_place:
            raise Unsupported("write", path.text, "whether this server keeps a file's inode is not known")
        old = await self._places.find_or_none(path, "write")
        if old is not None and mode == "create":
            raise Exists("write", path.text)
        if old is not None and old.type == "directory":
            raise IsDirectory("write", path.text)
        missing = await self._places.missing(parent(path), "write")
        temporary = parent(path).child(f"{OWN_PREFIX}part-{secrets.token_hex(8)}")
        try:
            size, sha256 = await self._stage(temporary, once(data) if isinstance(data, bytes) else data, path)
            permissions = _permissions(old, executable)
            if permissions is not None:
                await self.chmod(temporary, permissions, recursive=False, op="write")
            await self.rename(temporary, path, overwrite=mode == "overwrite", op="write")
        except BaseException:
            with anyio.CancelScope(shield=True):
                for left in (temporary, *missing):  # a directory goes only where it is empty
                    await self._calls.remove_quietly(left)
            raise
        info = await self._places.find(path, "write")
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

    async def make(self, path: SandboxPath, op: str) -> None:
        """Make a directory with its parents, by a file in it that goes again: where the server makes them for a file.
        Raises Unsupported where it does not."""
        missing = await self._places.missing(path, op)
        temporary = path.child(f"{OWN_PREFIX}part-{secrets.token_hex(8)}")
        try:
            await self._calls.put(temporary, once(b""))
        except DevboxError as error:
            for left in missing:
                await self._calls.remove_quietly(left)
            if error.retryable:
                raise
            raise unsupported(op, path, "directories") from error
        await self._calls.remove_quietly(temporary)
        if await self._places.find_or_none(path, op) is None:
            raise unsupported(op, path, "directories")

    async def chmod(self, path: SandboxPath, mode: int, *, recursive: bool, op: str) -> None:
        """Set permission bits."""
        fields = {"path": self._calls.absolute(path, op), "mode": f"{mode:04o}", "recursive": recursive}
        await self._calls.post(op, path, "chmod", fields)

    async def rename(self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool, op: str) -> None:
        """Rename an entry."""
        fields = {
            "source": self._calls.absolute(source, op), "destination": self._calls.absolute(destination, op),
            "overwrite": overwrite,
        }  # fmt: skip
        await self._calls.post(op, destination, "move", fields)


def _permissions(old: FileInfo | None, executable: bool | None) -> int | None:
    """Return what a new file's bits are to be: the old one's, with or without the executable ones."""
    if old is None and executable is None:
        return None
    mode = 0o644 if old is None else old.mode
    if executable:
        return mode | (mode & 0o444) >> 2
    return mode & ~0o111 if executable is False else mode
