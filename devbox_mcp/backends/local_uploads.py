"""The local backend's resumable uploads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from devbox_mcp.backends import answers
from devbox_mcp.backends.pieces import add_in_pieces
from devbox_mcp.backends.working import Body, GuestThreads
from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.uploads import Uploads
from devbox_mcp.models import Written


class LocalUploads:
    """See the contract's ``upload_…`` methods."""

    def __init__(self, root: Root, threads: GuestThreads) -> None:
        self._uploads = Uploads(root)
        self._threads = threads

    async def begin(self, path: str, token: str, mode: str, if_match: str | None) -> None:
        job = Job()
        await self._threads.run(
            "upload", path, job, lambda: self._uploads.begin(path, token, job, mode=mode, if_match=if_match)
        )

    async def size(self, path: str, token: str) -> int:
        return await self._threads.run("upload", path, Job(), lambda: self._uploads.size(path, token))

    async def add(self, path: str, token: str, offset: int, data: bytes | AsyncIterator[bytes], *, whole: bool) -> int:
        if whole and not isinstance(data, bytes):
            body = Body(data, asyncio.get_running_loop())
            return await self._extend(path, token, offset, body, body)

        async def add(offset: int, piece: bytes) -> int:
            return await self._extend(path, token, offset, (piece,))

        return await (add(offset, data) if isinstance(data, bytes) else add_in_pieces(offset, data, add))

    async def _extend(
        self, path: str, token: str, offset: int, chunks: Iterable[bytes], body: Body | None = None
    ) -> int:
        job = Job()

        def work() -> int:
            return self._uploads.extend(path, token, offset, chunks, job, None)

        return await self._threads.run("upload", path, job, work, waits=body is not None, body=body)

    async def finish(self, path: str, token: str, size: int, sha256: str | None, options: dict[str, Any]) -> Written:
        job = Job(ends=True)

        def work() -> dict[str, Any]:
            return self._uploads.finish(path, token, size, sha256, job, exact=True, **options)

        return answers.written(await self._threads.run("upload", path, job, work))

    async def abandon(self, path: str, token: str) -> None:
        await self._threads.run("upload", path, Job(), lambda: self._uploads.abandon(path, token))
