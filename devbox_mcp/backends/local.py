"""A directory on this machine: the guest in process.

The guest blocks, so its work runs in threads; only what the kernel answers from its caches (``WouldBlock`` says
when it cannot) is done at once, because a thread hop costs more than reading a small file.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any

from devbox_mcp.backends import answers
from devbox_mcp.backends.base import Backend, Progress
from devbox_mcp.backends.local_uploads import LocalUploads
from devbox_mcp.backends.pieces import once
from devbox_mcp.backends.working import Body, GuestThreads, guest_errors
from devbox_mcp.guest import batch, copying, listing, reading, tree, writing
from devbox_mcp.guest.archive import Zip
from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.cached import Cached
from devbox_mcp.guest.errors import WouldBlock
from devbox_mcp.guest.info import CHUNK, free_space
from devbox_mcp.guest.job import Job
from devbox_mcp.guest.lines import LineReader
from devbox_mcp.guest.listed import NameLister
from devbox_mcp.guest.policy import Policy
from devbox_mcp.guest.watch import Watcher
from devbox_mcp.guest.worker import Worker
from devbox_mcp.models import (
    Archive,
    BatchItem,
    BatchOutcome,
    Capability,
    Content,
    Description,
    Events,
    FileInfo,
    Found,
    Lines,
    Matches,
    Names,
    Page,
    SortOrder,
    WriteMode,
    Written,
)
from devbox_mcp.paths import SandboxPath


class LocalBackend(Backend):
    """The files beneath one directory of this machine."""

    capabilities = frozenset(Capability)

    def __init__(self, directory: str, *, policy: Policy | None = None, use_openat2: bool = True) -> None:
        """Open the directory. Raises DevboxError (NotFound, NotDirectory, …) with the path ``.``."""
        with guest_errors("open"):
            self._root = Root(directory, policy, use_openat2)
        self._cached = Cached(self._root)
        self._lines = LineReader(self._root)
        self._names = NameLister(self._root)
        self._worker = Worker(self._root)
        self._watcher = Watcher(self._root)
        self._threads = GuestThreads()
        self._uploads = LocalUploads(self._root, self._threads)

    @property
    def handle(self) -> int:
        """The open directory, good while this is open."""
        return self._root.fd

    async def describe(self) -> Description:
        facts = {
            "user": str(os.geteuid()),
            "free": str(free_space(self._root)),
            "links": "resolved by openat2" if self._root.uses_openat2 else "resolved step by step",
        }
        return Description("directory", facts)

    async def root(self) -> str:
        return self._root.path

    async def relative(self, absolute: str) -> SandboxPath | None:
        found = await self._threads.run("resolve", ".", Job(), lambda: self._root.relative(absolute))
        return None if found is None else SandboxPath(found)

    async def stat(self, path: SandboxPath, *, follow: bool = True, sha256: bool = False) -> FileInfo:
        self._threads.check_open("stat", path.text)
        if not sha256:
            try:
                with guest_errors("stat"):
                    return answers.info(reading.stat_now(self._root, path.text))
            except WouldBlock:
                pass
        job = Job()
        found = await self._threads.run(
            "stat", path.text, job, lambda: reading.stat(self._root, path.text, job, follow, sha256)
        )
        return answers.info(found)

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
        job = Job()
        resume = None if after is None else after.text

        def work() -> dict[str, Any]:
            return listing.list_directory(self._root, path.text, job, depth, glob, limit, resume, details)

        found = await self._threads.run("list", path.text, job, work)
        return answers.page(found)

    async def names(
        self,
        path: SandboxPath,
        *,
        depth: int = 1,
        glob: str | None = None,
        limit: int = 1000,
        after: str | None = None,
    ) -> Names:
        self._threads.check_open("list", path.text)
        job = Job()

        def work() -> dict[str, Any]:
            return self._names.list(path.text, job, depth, glob, limit, after)

        try:
            with guest_errors("list"):
                found = self._names.list_now(path.text, depth, glob, limit, after)
        except WouldBlock:
            found = await self._threads.run("list", path.text, job, work)
        return answers.names(found)

    async def read(self, path: SandboxPath, *, offset: int = 0, length: int | None = None) -> Content:
        self._threads.check_open("read", path.text)
        try:
            with guest_errors("read"):
                found, start, data = self._cached.read(path.text, offset, length)
            return Content(answers.info(found), start, once(data))
        except WouldBlock:
            pass
        job = Job()

        def begin() -> tuple[reading.Reader, bytes]:
            reader = reading.Reader(self._root, path.text, job, offset, length)
            try:
                return reader, reader.next()
            except BaseException:
                reader.close()
                raise

        reader, first = await self._threads.run("read", path.text, job, begin)

        async def chunks() -> AsyncIterator[bytes]:
            try:
                chunk = first
                while chunk:
                    yield chunk
                    chunk = await self._threads.run("read", path.text, job, reader.next)
            finally:
                reader.close()

        if len(first) < CHUNK:
            reader.close()
            return Content(answers.info(reader.info), reader.offset, once(first))
        return Content(answers.info(reader.info), reader.offset, chunks())

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
        job = Job(ends=True)
        body = Body(data, asyncio.get_running_loop()) if not isinstance(data, bytes) else None

        def work() -> dict[str, Any]:
            return writing.write(
                self._root, path.text, (data,) if isinstance(data, bytes) else body or (), job,
                mode=mode, if_match=if_match, executable=executable, in_place=in_place,
            )  # fmt: skip

        if body is None:
            return answers.written(await self._threads.run("write", path.text, job, work))
        return answers.written(await self._threads.run("write", path.text, job, work, waits=True, body=body))

    async def mkdir(self, path: SandboxPath) -> bool:
        return await self._threads.run("mkdir", path.text, Job(), lambda: tree.mkdir(self._root, path.text))

    async def delete(self, path: SandboxPath, *, recursive: bool = False, if_match: str | None = None) -> int:
        job = Job()

        def work() -> int:
            return tree.delete(self._root, path.text, job, recursive=recursive, if_match=if_match)

        return await self._threads.run("delete", path.text, job, work)

    async def move(
        self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False, if_match: str | None = None
    ) -> FileInfo:
        job = Job()

        def work() -> dict[str, Any]:
            return tree.move(self._root, source.text, destination.text, job, overwrite=overwrite, if_match=if_match)

        return answers.info(await self._threads.run("move", source.text, job, work))

    async def copy(self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False) -> FileInfo:
        job = Job()

        def work() -> dict[str, Any]:
            return copying.copy(self._root, source.text, destination.text, job, overwrite=overwrite)

        return answers.info(await self._threads.run("copy", source.text, job, work))

    async def chmod(self, path: SandboxPath, mode: int, *, recursive: bool = False) -> int:
        job = Job()

        def work() -> int:
            return tree.chmod(self._root, path.text, mode, job, recursive=recursive)

        return await self._threads.run("chmod", path.text, job, work)

    async def read_lines(self, path: SandboxPath, *, first: int, count: int | None, max_bytes: int) -> Lines:
        self._threads.check_open("read", path.text)
        job = Job()

        def work() -> dict[str, Any]:
            return self._lines.read_lines(path.text, job, first=first, count=count, max_bytes=max_bytes)

        try:
            with guest_errors("read"):
                found = self._lines.read_lines_now(path.text, first=first, count=count, max_bytes=max_bytes)
        except WouldBlock:
            found = await self._threads.run("read", path.text, job, work)
        return answers.lines(found, found["data"])

    async def find(
        self,
        path: SandboxPath,
        pattern: str,
        *,
        sort: SortOrder = "name",
        ignored: bool = False,
        limit: int = 200,
        after: str | None = None,
        seconds: float = 20.0,
    ) -> Found:
        job = Job(seconds)

        def work() -> dict[str, Any]:
            return self._worker.find(path.text, pattern, job, sort=sort, ignored=ignored, limit=limit, after=after)

        found = await self._threads.run("find", path.text, job, work)
        return answers.found_entries(found)

    async def search(
        self,
        path: SandboxPath,
        pattern: str,
        *,
        glob: str | None = None,
        regex: bool = True,
        ignore_case: bool = False,
        context: int = 0,
        ignored: bool = False,
        limit: int = 200,
        after: str | None = None,
        seconds: float = 20.0,
    ) -> Matches:
        job = Job(seconds)

        def work() -> dict[str, Any]:
            return self._worker.search(
                path.text, pattern, job, glob=glob, regex=regex, ignore_case=ignore_case, context=context,
                ignored=ignored, limit=limit, after=after,
            )  # fmt: skip

        found = await self._threads.run("search", path.text, job, work)
        return answers.matches(found)

    async def watch(
        self,
        path: SandboxPath,
        *,
        cursor: str | None = None,
        timeout: float = 4.0,
        recursive: bool = True,
        limit: int = 1000,
    ) -> Events:
        job = Job()

        def work() -> dict[str, Any]:
            return self._watcher.changes(
                path.text, job, cursor=cursor, timeout=timeout, recursive=recursive, limit=limit
            )

        found = await self._threads.run("watch", path.text, job, work, waits=True)
        return answers.events(found)

    async def archive(
        self,
        paths: Sequence[SandboxPath],
        *,
        max_bytes: int,
        max_files: int,
        on_progress: Progress | None = None,
    ) -> Archive:
        job = Job(on_progress=on_progress)
        texts = [path.text for path in paths]
        archived = await self._threads.run(
            "archive", texts[0], job, lambda: Zip(self._root, texts, job, max_bytes=max_bytes, max_files=max_files)
        )
        pieces = iter(archived)

        async def chunks() -> AsyncIterator[bytes]:
            try:
                while chunk := await self._threads.run("archive", texts[0], job, lambda: next(pieces, b"")):
                    yield chunk
                answer.files, answer.bytes = archived.files, archived.bytes
                answer.skipped = [SandboxPath(text) for text in archived.skipped]
            finally:
                close = getattr(pieces, "close", None)
                if close is not None:
                    close()

        answer = Archive(chunks())
        return answer

    async def write_batch(self, items: Sequence[BatchItem], *, atomic: bool = False) -> Sequence[BatchOutcome]:
        job = Job()
        plain = [
            {"path": item.path.text, "data": item.data, "executable": item.executable, "if_match": item.if_match}
            for item in items
        ]

        def work() -> Sequence[dict[str, Any]]:
            return batch.write_batch(self._root, plain, job, atomic=atomic)

        outcomes = await self._threads.run("write", items[0].path.text if items else ".", job, work)
        return answers.outcomes(items, outcomes)

    async def upload_begin(
        self, path: SandboxPath, token: str, *, mode: WriteMode = "overwrite", if_match: str | None = None
    ) -> None:
        await self._uploads.begin(path.text, token, mode, if_match)

    async def upload_size(self, path: SandboxPath, token: str) -> int:
        return await self._uploads.size(path.text, token)

    async def upload_add(
        self,
        path: SandboxPath,
        token: str,
        offset: int,
        data: bytes | AsyncIterator[bytes],
        *,
        whole: bool = False,
    ) -> int:
        return await self._uploads.add(path.text, token, offset, data, whole=whole)

    async def upload_finish(
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
        options = {"mode": mode, "if_match": if_match, "executable": executable}
        return await self._uploads.finish(path.text, token, size, sha256, options)

    async def upload_abandon(self, path: SandboxPath, token: str) -> None:
        await self._uploads.abandon(path.text, token)

    async def aclose(self) -> None:
        if self._threads.closed:
            return
        self._threads.closed = True
        self._watcher.close()
        self._worker.close()
        await self._threads.aclose()
        self._root.close()
