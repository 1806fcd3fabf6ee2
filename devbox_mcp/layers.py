"""Backends around a backend. Each forwards every method by name, so that none slips past it unseen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Never

from devbox_mcp.backends.base import Backend, Progress
from devbox_mcp.errors import NotFound, ReadOnly, TooLarge
from devbox_mcp.models import (
    Archive,
    BatchItem,
    BatchOutcome,
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


class Layer(Backend):
    """Forwards everything to the backend inside; subclasses change what they are for."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.capabilities = inner.capabilities

    async def describe(self) -> Description:
        return await self._inner.describe()

    async def root(self) -> str:
        return await self._inner.root()

    async def relative(self, absolute: str) -> SandboxPath | None:
        return await self._inner.relative(absolute)

    async def stat(self, path: SandboxPath, *, follow: bool = True, sha256: bool = False) -> FileInfo:
        return await self._inner.stat(path, follow=follow, sha256=sha256)

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
        return await self._inner.list(path, depth=depth, glob=glob, limit=limit, after=after, details=details)

    async def names(
        self,
        path: SandboxPath,
        *,
        depth: int = 1,
        glob: str | None = None,
        limit: int = 1000,
        after: str | None = None,
    ) -> Names:
        return await self._inner.names(path, depth=depth, glob=glob, limit=limit, after=after)

    async def read(self, path: SandboxPath, *, offset: int = 0, length: int | None = None) -> Content:
        return await self._inner.read(path, offset=offset, length=length)

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
        return await self._inner.write(
            path, data, mode=mode, if_match=if_match, executable=executable, in_place=in_place
        )

    async def mkdir(self, path: SandboxPath) -> bool:
        return await self._inner.mkdir(path)

    async def delete(self, path: SandboxPath, *, recursive: bool = False, if_match: str | None = None) -> int:
        return await self._inner.delete(path, recursive=recursive, if_match=if_match)

    async def move(
        self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False, if_match: str | None = None
    ) -> FileInfo:
        return await self._inner.move(source, destination, overwrite=overwrite, if_match=if_match)

    async def copy(self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False) -> FileInfo:
        return await self._inner.copy(source, destination, overwrite=overwrite)

    async def chmod(self, path: SandboxPath, mode: int, *, recursive: bool = False) -> int:
        return await self._inner.chmod(path, mode, recursive=recursive)

    async def read_lines(self, path: SandboxPath, *, first: int, count: int | None, max_bytes: int) -> Lines:
        return await self._inner.read_lines(path, first=first, count=count, max_bytes=max_bytes)

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
        return await self._inner.find(
            path, pattern, sort=sort, ignored=ignored, limit=limit, after=after, seconds=seconds
        )

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
        return await self._inner.search(
            path,
            pattern,
            glob=glob,
            regex=regex,
            ignore_case=ignore_case,
            context=context,
            ignored=ignored,
            limit=limit,
            after=after,
            seconds=seconds,
        )

    async def watch(
        self,
        path: SandboxPath,
        *,
        cursor: str | None = None,
        timeout: float = 4.0,
        recursive: bool = True,
        limit: int = 1000,
    ) -> Events:
        return await self._inner.watch(path, cursor=cursor, timeout=timeout, recursive=recursive, limit=limit)

    async def archive(
        self,
        paths: Sequence[SandboxPath],
        *,
        max_bytes: int,
        max_files: int,
        on_progress: Progress | None = None,
    ) -> Archive:
        return await self._inner.archive(paths, max_bytes=max_bytes, max_files=max_files, on_progress=on_progress)

    async def write_batch(self, items: Sequence[BatchItem], *, atomic: bool = False) -> Sequence[BatchOutcome]:
        return await self._inner.write_batch(items, atomic=atomic)

    async def upload_begin(
        self, path: SandboxPath, token: str, *, mode: WriteMode = "overwrite", if_match: str | None = None
    ) -> None:
        return await self._inner.upload_begin(path, token, mode=mode, if_match=if_match)

    async def upload_size(self, path: SandboxPath, token: str) -> int:
        return await self._inner.upload_size(path, token)

    async def upload_add(
        self,
        path: SandboxPath,
        token: str,
        offset: int,
        data: bytes | AsyncIterator[bytes],
        *,
        whole: bool = False,
    ) -> int:
        return await self._inner.upload_add(path, token, offset, data, whole=whole)

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
        return await self._inner.upload_finish(
            path, token, size, sha256=sha256, mode=mode, if_match=if_match, executable=executable
        )

    async def upload_abandon(self, path: SandboxPath, token: str) -> None:
        return await self._inner.upload_abandon(path, token)

    async def aclose(self) -> None:
        await self._inner.aclose()


class ReadOnlyLayer(Layer):
    """Refuses every change, whatever the backend inside would allow."""

    def _refuse(self, op: str, path: SandboxPath) -> Never:
        raise ReadOnly(op, path.text, "this devbox is served read-only")

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
        self._refuse("write", path)

    async def mkdir(self, path: SandboxPath) -> bool:
        self._refuse("mkdir", path)

    async def delete(self, path: SandboxPath, *, recursive: bool = False, if_match: str | None = None) -> int:
        self._refuse("delete", path)

    async def move(
        self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False, if_match: str | None = None
    ) -> FileInfo:
        self._refuse("move", source)

    async def copy(self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False) -> FileInfo:
        self._refuse("copy", destination)

    async def chmod(self, path: SandboxPath, mode: int, *, recursive: bool = False) -> int:
        self._refuse("chmod", path)

    async def write_batch(self, items: Sequence[BatchItem], *, atomic: bool = False) -> Sequence[BatchOutcome]:
        self._refuse("write", items[0].path)

    async def upload_begin(
        self, path: SandboxPath, token: str, *, mode: WriteMode = "overwrite", if_match: str | None = None
    ) -> None:
        self._refuse("upload", path)

    async def upload_add(
        self,
        path: SandboxPath,
        token: str,
        offset: int,
        data: bytes | AsyncIterator[bytes],
        *,
        whole: bool = False,
    ) -> int:
        self._refuse("upload", path)

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
        self._refuse("upload", path)

    async def upload_abandon(self, path: SandboxPath, token: str) -> None:
        self._refuse("upload", path)


class FileSizeLayer(Layer):
    """Refuses content that would make a file larger than a limit, counting streams as they pass."""

    def __init__(self, inner: Backend, most: int) -> None:
        """``most`` is the largest file, in bytes."""
        super().__init__(inner)
        self._most = most

    def _check(self, path: SandboxPath, size: int) -> None:
        if size > self._most:
            raise TooLarge(
                "write",
                path.text,
                f"{size} bytes are more than the largest file allowed, {self._most}",
                hint="split it into several files, or have the operator raise --max-file-size",
                limit=self._most,
            )

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
        size = await self._inner_size(path) if mode == "append" else 0
        if isinstance(data, bytes):
            self._check(path, size + len(data))
        else:
            data = self._counted(path, data, size)
        return await self._inner.write(
            path, data, mode=mode, if_match=if_match, executable=executable, in_place=in_place
        )

    async def write_batch(self, items: Sequence[BatchItem], *, atomic: bool = False) -> Sequence[BatchOutcome]:
        refused: dict[int, BatchOutcome] = {}
        for index, item in enumerate(items):
            try:
                self._check(item.path, len(item.data))
            except TooLarge as error:
                if atomic:
                    raise
                refused[index] = BatchOutcome(item.path, None, error)
        rest = [item for index, item in enumerate(items) if index not in refused]
        outcomes = iter(await self._inner.write_batch(rest, atomic=atomic) if rest else ())
        return [refused[index] if index in refused else next(outcomes) for index in range(len(items))]

    async def upload_add(
        self,
        path: SandboxPath,
        token: str,
        offset: int,
        data: bytes | AsyncIterator[bytes],
        *,
        whole: bool = False,
    ) -> int:
        if isinstance(data, bytes):
            self._check(path, offset + len(data))
        else:
            data = self._counted(path, data, offset)
        return await self._inner.upload_add(path, token, offset, data, whole=whole)

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
        self._check(path, size + (await self._inner_size(path) if mode == "append" else 0))
        return await self._inner.upload_finish(
            path, token, size, sha256=sha256, mode=mode, if_match=if_match, executable=executable
        )

    async def _inner_size(self, path: SandboxPath) -> int:
        try:
            return (await self._inner.stat(path)).size
        except NotFound:
            return 0

    async def _counted(self, path: SandboxPath, chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            size += len(chunk)
            self._check(path, size)
            yield chunk
