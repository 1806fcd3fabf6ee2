"""Files that arrive in parts, over as many connections and servers as it takes: recorded like every other change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager

from devbox_mcp.audit import AuditRecord
from devbox_mcp.backends.base import Backend
from devbox_mcp.models import WriteMode, Written
from devbox_mcp.paths import SandboxPath

#: Records, under a path, what is done in the block, which needs the right to write.
Doing = Callable[[str], AbstractContextManager[AuditRecord]]


class Uploads:
    """The resumable uploads of a devbox, each known by its path and its token. See Backend.upload_begin."""

    def __init__(self, backend: Backend, doing: Doing) -> None:
        self._backend = backend
        self._doing = doing

    async def begin(
        self, path: SandboxPath, token: str, *, mode: WriteMode = "overwrite", if_match: str | None = None
    ) -> None:
        """Begin a resumable upload; see Backend.upload_begin."""
        with self._doing(path.text):
            await self._backend.upload_begin(path, token, mode=mode, if_match=if_match)

    async def size(self, path: SandboxPath, token: str) -> int:
        """Return how much of an upload has arrived."""
        with self._doing(path.text):
            return await self._backend.upload_size(path, token)

    async def add(
        self,
        path: SandboxPath,
        token: str,
        offset: int,
        data: bytes | AsyncIterator[bytes],
        *,
        whole: bool = False,
    ) -> int:
        """Add to an upload; see Backend.upload_add."""
        with self._doing(path.text) as record:
            size = await self._backend.upload_add(path, token, offset, data, whole=whole)
            record.bytes = size - offset
            return size

    async def finish(
        self,
        path: SandboxPath,
        token: str,
        size: int,
        *,
        sha256: str | None = None,
        mode: WriteMode = "overwrite",
        if_match: str | None = None,
        executable: bool | None = None,
    ) -> Written:
        """Let an upload become the file; see Backend.upload_finish."""
        with self._doing(path.text) as record:
            written = await self._backend.upload_finish(
                path, token, size, sha256=sha256, mode=mode, if_match=if_match, executable=executable
            )
            record.sha256, record.bytes = written.info.sha256, written.info.size
            return written

    async def abandon(self, path: SandboxPath, token: str) -> None:
        """Remove what has arrived of an upload."""
        with self._doing(path.text):
            await self._backend.upload_abandon(path, token)
