"""What is where: looked for by the listing of its parent, for the server describes nothing by itself."""

from __future__ import annotations

from collections.abc import Sequence

from devbox_mcp.backends.http.sealos.calls import Calls
from devbox_mcp.backends.http.sealos.walk import Walk
from devbox_mcp.errors import DevboxError, InvalidArgument, NotDirectory, NotFound
from devbox_mcp.guest.names import OWN_PREFIX
from devbox_mcp.models import FileInfo
from devbox_mcp.paths import ROOT, SandboxPath

_LONGEST_NAME = 255
_ANY_DEPTH, _ANY_NUMBER = 10_000, 1 << 40


class Places:
    """The entries beneath the root."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def find(self, path: SandboxPath, op: str) -> FileInfo:
        """Return an entry by its parent's listing. Raises NotFound, NotDirectory."""
        self.check(path, op)
        self._calls.asking.check_open(op, path.text)
        if path.is_root:
            await self._calls.entries(path, op)
            return FileInfo(ROOT, "directory", mode=0o755, revision="-root")
        above = parent(path)
        try:
            entries = await self._calls.entries(above, op)
        except DevboxError as error:
            if error.retryable or above.is_root:
                raise
            await self.require_directory(above, op, path)
            raise
        for info in entries:
            if info.path == path:
                return info
        raise NotFound(op, path.text)

    async def find_or_none(self, path: SandboxPath, op: str) -> FileInfo | None:
        """The same, but None for what is not there."""
        try:
            return await self.find(path, op)
        except NotFound:
            return None

    async def missing(self, path: SandboxPath, op: str) -> Sequence[SandboxPath]:
        """Return those of a directory and its parents that are not there, the lowest first. Raises NotDirectory."""
        missing: tuple[SandboxPath, ...] = ()
        while (info := await self.find_or_none(path, op)) is None:
            missing = (*missing, path)
            path = parent(path)
        if info.type != "directory":
            raise NotDirectory(op, path.text)
        return missing

    async def require_directory(self, path: SandboxPath, op: str, asked: SandboxPath | None = None) -> None:
        """Raise NotFound or NotDirectory, for the path that was ``asked`` for, unless this is a directory."""
        if path.is_root:
            return
        try:
            info = await self.find(path, op)
        except NotFound:
            raise NotFound(op, (asked or path).text) from None
        if info.type != "directory":
            raise NotDirectory(op, (asked or path).text)

    async def count(self, path: SandboxPath) -> int:
        """Return how many entries are beneath a directory."""
        walk = Walk(self._calls, path, depth=_ANY_DEPTH, limit=_ANY_NUMBER)
        await walk.run()
        return len(walk.found)

    def check(self, path: SandboxPath, op: str) -> None:
        """Raise InvalidArgument for names that no file system there holds, and for this project's temporaries."""
        for part in path.text.split("/"):
            if part.startswith(OWN_PREFIX):
                raise InvalidArgument(op, path.text, f"names that begin with {OWN_PREFIX} are the server's own")
            if len(part.encode("utf-8", "surrogateescape")) > _LONGEST_NAME:
                raise InvalidArgument(op, path.text, f"a name has at most {_LONGEST_NAME} bytes")


def parent(path: SandboxPath) -> SandboxPath:
    """Return the directory that an entry is in."""
    return SandboxPath(path.text.rpartition("/")[0] or ".")
