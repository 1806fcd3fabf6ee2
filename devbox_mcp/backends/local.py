"""A directory on this machine: the guest in process.

The guest blocks, so its work runs in threads; only what the kernel answers from its caches (``WouldBlock`` says
when it cannot) is done at once, because a thread hop costs more than reading a small file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio

from devbox_mcp.backends import answers
from devbox_mcp.backends.base import Backend, Progress
from devbox_mcp.backends.threads import Threads
from devbox_mcp.errors import Unavailable
from devbox_mcp.guest import batch, copying, listing, reading, tree, writing
from devbox_mcp.guest.archive import Zip
from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.errors import GuestError, WouldBlock
from devbox_mcp.guest.info import CHUNK
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

T = TypeVar("T")

_WORKERS = 8
#: Calls that hold a thread while they wait for somebody: the sender of a stream, the next change.
_WAITERS = 64


class LocalBackend(Backend):
    """The files beneath one directory of this machine."""

    capabilities = frozenset(Capability)

    def __init__(self, directory: str, *, policy: Policy | None = None, use_openat2: bool = True) -> None:
        """Open the directory. Raises DevboxError (NotFound, NotDirectory, …) with the path ``.``."""
        with _guest_errors("open"):
            self._root = Root(directory, policy, use_openat2)
        self._lines = LineReader(self._root)
        self._names = NameLister(self._root)
        self._worker = Worker(self._root)
        self._watcher = Watcher(self._root)
        self._workers = Threads(_WORKERS, "devbox-work")
        self._waiters = Threads(_WAITERS, "devbox-wait")
        self._closed = False

    async def root(self) -> str:
        return self._root.path

    async def relative(self, absolute: str) -> SandboxPath | None:
        found = await self._run("resolve", ".", Job(), lambda: self._root.relative(absolute))
        return None if found is None else SandboxPath(found)

    async def stat(self, path: SandboxPath, *, follow: bool = True, sha256: bool = False) -> FileInfo:
        self._check_open("stat", path.text)
        if not sha256:
            try:
                with _guest_errors("stat"):
                    return answers.info(reading.stat_now(self._root, path.text))
            except WouldBlock:
                pass
        job = Job()
        found = await self._run(
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

        found = await self._run("list", path.text, job, work)
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
        self._check_open("list", path.text)
        job = Job()

        def work() -> dict[str, Any]:
            return self._names.list(path.text, job, depth, glob, limit, after)

        try:
            with _guest_errors("list"):
                found = self._names.list_now(path.text, depth, glob, limit, after)
        except WouldBlock:
            found = await self._run("list", path.text, job, work)
        return answers.names(found)

    async def read(self, path: SandboxPath, *, offset: int = 0, length: int | None = None) -> Content:
        job = Job()

        def begin() -> tuple[reading.Reader, bytes]:
            reader = reading.Reader(self._root, path.text, job, offset, length)
            try:
                return reader, reader.next()
            except BaseException:
                reader.close()
                raise

        reader, first = await self._run("read", path.text, job, begin)

        async def chunks() -> AsyncIterator[bytes]:
            try:
                chunk = first
                while chunk:
                    yield chunk
                    chunk = await self._run("read", path.text, job, reader.next)
            finally:
                reader.close()

        if len(first) < CHUNK:
            reader.close()
            return Content(answers.info(reader.info), reader.offset, _once(first))
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
        job = Job()
        body = _Body(data, asyncio.get_running_loop()) if not isinstance(data, bytes) else None

        def work() -> dict[str, Any]:
            return writing.write(
                self._root, path.text, (data,) if isinstance(data, bytes) else body or (), job,
                mode=mode, if_match=if_match, executable=executable, in_place=in_place,
            )  # fmt: skip

        if body is None:
            return answers.written(await self._run("write", path.text, job, work))
        return answers.written(await self._run("write", path.text, job, work, threads=self._waiters, body=body))

    async def mkdir(self, path: SandboxPath) -> bool:
        return await self._run("mkdir", path.text, Job(), lambda: tree.mkdir(self._root, path.text))

    async def delete(self, path: SandboxPath, *, recursive: bool = False, if_match: str | None = None) -> int:
        job = Job()

        def work() -> int:
            return tree.delete(self._root, path.text, job, recursive=recursive, if_match=if_match)

        return await self._run("delete", path.text, job, work)

    async def move(
        self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False, if_match: str | None = None
    ) -> FileInfo:
        job = Job()

        def work() -> dict[str, Any]:
            return tree.move(self._root, source.text, destination.text, job, overwrite=overwrite, if_match=if_match)

        return answers.info(await self._run("move", source.text, job, work))

    async def copy(self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False) -> FileInfo:
        job = Job()

        def work() -> dict[str, Any]:
            return copying.copy(self._root, source.text, destination.text, job, overwrite=overwrite)

        return answers.info(await self._run("copy", source.text, job, work))

    async def chmod(self, path: SandboxPath, mode: int, *, recursive: bool = False) -> int:
        job = Job()

        def work() -> int:
            return tree.chmod(self._root, path.text, mode, job, recursive=recursive)

        return await self._run("chmod", path.text, job, work)

    async def read_lines(self, path: SandboxPath, *, first: int, count: int | None, max_bytes: int) -> Lines:
        self._check_open("read", path.text)
        job = Job()

        def work() -> dict[str, Any]:
            return self._lines.read_lines(path.text, job, first=first, count=count, max_bytes=max_bytes)

        try:
            with _guest_errors("read"):
                found = self._lines.read_lines_now(path.text, first=first, count=count, max_bytes=max_bytes)
        except WouldBlock:
            found = await self._run("read", path.text, job, work)
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

        found = await self._run("find", path.text, job, work)
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

        found = await self._run("search", path.text, job, work)
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

        found = await self._run("watch", path.text, job, work, threads=self._waiters)
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
        archived = await self._run(
            "archive", texts[0], job, lambda: Zip(self._root, texts, job, max_bytes=max_bytes, max_files=max_files)
        )
        pieces = iter(archived)

        async def chunks() -> AsyncIterator[bytes]:
            try:
                while chunk := await self._run("archive", texts[0], job, lambda: next(pieces, b"")):
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

        outcomes = await self._run("write", items[0].path.text if items else ".", job, work)
        return answers.outcomes(items, outcomes)

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._watcher.close()
        self._worker.close()
        with anyio.CancelScope(shield=True):
            loop = asyncio.get_running_loop()
            for threads in (self._workers, self._waiters):
                await loop.run_in_executor(None, threads.close)
        self._root.close()

    def _check_open(self, op: str, path: str) -> None:
        if self._closed:
            raise Unavailable(op, path, "this devbox was closed")

    async def _run(
        self,
        op: str,
        path: str,
        job: Job,
        work: Callable[[], T],
        *,
        threads: Threads | None = None,
        body: _Body | None = None,
    ) -> T:
        """Run blocking work in a thread. A cancelled call tells the work to stop, and waits until it has, so
        that what it had half done is gone when the cancellation arrives."""
        self._check_open(op, path)
        call = (threads or self._workers).call(work)
        try:
            result: T = await call.result
        except GuestError as error:
            raise answers.error(op, error) from error
        except asyncio.CancelledError:
            job.cancel()
            if body is not None:
                body.cancel()
            with anyio.CancelScope(shield=True):
                await call.finished()
            raise
        return result


class _Body:
    """An asynchronous stream of bytes, iterated over by a thread."""

    def __init__(self, chunks: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._chunks = chunks
        self._loop = loop
        self._pending: Future[bytes | None] | None = None
        self._cancelled = False

    def cancel(self) -> None:
        """Wake the thread if it waits for a chunk."""
        self._cancelled = True
        if self._pending is not None:
            self._pending.cancel()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self._pending = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            if self._cancelled:
                self._pending.cancel()
            try:
                chunk = self._pending.result()
            except CancelledError as error:
                raise GuestError("cancelled", ".", "the sender gave up") from error
            if chunk is None:
                return
            yield chunk

    async def _next(self) -> bytes | None:
        return await anext(self._chunks, None)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    if data:
        yield data


@contextmanager
def _guest_errors(op: str) -> Iterator[None]:
    """Turn the guest's errors into the project's, at this seam only."""
    try:
        yield
    except GuestError as error:
        raise answers.error(op, error) from error
