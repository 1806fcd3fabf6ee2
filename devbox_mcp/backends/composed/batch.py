"""Many files in one call, each by a write of its own.

With ``atomic`` everything that can be foreseen is looked at before the first write: what each path leads to, its
version, and its old content, which is kept on the server's machine. The writes are compare-and-set against what was
seen. Where one fails, or the call is cancelled, what was written is put back: new files and the directories made for
them are deleted, old files get their content and mode again, unless somebody else has changed them meanwhile.

So what is promised is: a call that returns or is cancelled while the sandbox can be reached has written all files or
none. It is less than a backend with renames of its own can promise: others may see some files new before the rest; a
file put back has a new time, and hard links to it are broken; and where the sandbox, or this process, goes away in
the middle, some files are new and some are old (each is whole). The error then names the ones that are new.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import IO

import anyio

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.composed.small import GONE, Resolver, as_one, closing
from devbox_mcp.errors import (
    Cancelled,
    Conflict,
    DevboxError,
    InvalidArgument,
    IsDirectory,
    NotFound,
    TooLarge,
    Unavailable,
    Unsupported,
)
from devbox_mcp.guest.versions import check_prefix
from devbox_mcp.models import BatchItem, BatchOutcome, FileInfo, Written
from devbox_mcp.paths import ROOT, SandboxPath

_IN_MEMORY = 1 << 20  # of the old files' contents; more is kept on disk
_MOST_KEPT = 256 << 20
_CHUNK = 256 << 10


async def write_each(backend: Backend, items: Sequence[BatchItem]) -> list[BatchOutcome]:
    """Write the files one by one; a later one with the same path wins."""
    outcomes: list[BatchOutcome] = []
    gone: DevboxError | None = None
    for item in items:
        try:
            if gone is not None:
                raise Unavailable("write", item.path.text, gone.detail, hint=gone.hint)
            written = await backend.write(item.path, item.data, if_match=item.if_match, executable=item.executable)
        except DevboxError as error:
            gone = error if isinstance(error, Unavailable) else None
            outcomes.append(BatchOutcome(item.path, None, error))
        else:
            outcomes.append(BatchOutcome(item.path, written))
    return outcomes


async def write_all(backend: Backend, items: Sequence[BatchItem]) -> list[BatchOutcome]:
    """Write all of the files or none."""
    with ExitStack() as kept:
        batch = _Batch(backend, items, kept)
        if await batch.prepare():
            await batch.write()
        return batch.outcomes()


class _File:
    """One file, what was there, and what became of it."""

    def __init__(self, item: BatchItem) -> None:
        self.item = item
        self.path = item.path  # without links
        self.old: FileInfo | None = None
        self.old_content: IO[bytes] | None = None
        self.made: list[SandboxPath] = []  # directories missing on the way, the innermost first
        self.attempted = False
        self.written: Written | None = None
        self.error: DevboxError | None = None

    @property
    def failed(self) -> bool:
        """Whether it is sure that nothing was written; when the connection is lost, or on cancellation, it is not."""
        return self.error is not None and not isinstance(self.error, Unavailable)


class _Batch:
    def __init__(self, backend: Backend, items: Sequence[BatchItem], kept: ExitStack) -> None:
        self._backend = backend
        self._files = [_File(item) for item in items]
        self._kept = kept
        self._kept_bytes = 0
        self._resolver = Resolver(backend)
        self._taken: set[str] = set()
        self._left: list[str] = []

    def outcomes(self) -> list[BatchOutcome]:
        """Tell what became of each."""
        failed = next((file for file in self._files if file.error is not None), None)
        if failed is None:
            return [BatchOutcome(file.item.path, file.written) for file in self._files]
        detail = f"nothing was written, because {failed.item.path.text} failed"
        if self._left:
            detail = f"{failed.item.path.text} failed, and these could not be put back: {', '.join(self._left)}"
        return [
            BatchOutcome(file.item.path, None, file.error or Cancelled("write", file.item.path.text, detail))
            for file in self._files
        ]

    async def prepare(self) -> bool:
        """Look at every file; return whether all can be written as far as can be told."""
        for file in self._files:
            try:
                with as_one("write"):
                    await self._look(file)
            except DevboxError as error:
                file.error = error
                if isinstance(error, Unavailable):
                    return False
        return not any(file.error for file in self._files)

    async def _look(self, file: _File) -> None:
        path = file.item.path
        check_prefix(file.item.if_match, path.text)
        try:
            info = await self._backend.stat(path)
        except NotFound:
            await self._look_at_missing(file)
        else:
            file.path = await self._resolver.resolve(path)
            await self._keep(file, info)
        if file.path.text in self._taken:
            raise InvalidArgument("write", path.text, "the batch holds this file twice")
        self._taken.add(file.path.text)

    async def _look_at_missing(self, file: _File) -> None:
        if file.item.if_match is not None:
            raise Conflict("write", file.item.path.text, "the file does not exist", sha256=None)
        file.path = await self._resolver.resolve(file.item.path)
        above = file.path
        while not above.is_root:
            above = SandboxPath(above.text.rpartition("/")[0]) if "/" in above.text else ROOT
            try:
                await self._backend.stat(above)
            except NotFound:
                file.made.append(above)
            else:
                return

    async def _keep(self, file: _File, info: FileInfo) -> None:
        """Keep a file's content, and see whether it is the version that is meant."""
        path = file.item.path.text
        if info.type == "directory":
            raise IsDirectory("write", path)
        if info.type != "file":
            raise Unsupported("write", path, f"this is a {info.type}, not a regular file")
        self._kept_bytes += info.size
        if self._kept_bytes > _MOST_KEPT:
            raise TooLarge(
                "write",
                path,
                f"the files to replace are larger than {_MOST_KEPT} bytes together, and their contents have to be kept",
                hint="write them without atomic, or fewer at a time",
            )
        spool = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  closed with the others
        self._kept.enter_context(spool)
        digest = hashlib.sha256()
        async with closing(await self._backend.read(file.path)) as content:
            async for chunk in content:
                digest.update(chunk)
                spool.write(chunk)
        sha256 = digest.hexdigest()
        if file.item.if_match is not None and not sha256.startswith(file.item.if_match):
            raise Conflict("write", path, "the file is not the version that if_match names", sha256=sha256)
        file.old, file.old_content = replace(info, sha256=sha256), spool

    async def write(self) -> None:
        """Write one after the other; at the first failure put everything back."""
        try:
            for file in self._files:
                await self._write(file)
                if file.error is not None:
                    break
        finally:
            # also when the call is cancelled, and then the file that was being written may or may not be there
            if any(file.written is None for file in self._files):
                with anyio.CancelScope(shield=True):
                    await self._undo()

    async def _write(self, file: _File) -> None:
        file.attempted = True
        try:
            with as_one("write"):
                if file.old is None:
                    written = await self._backend.write(
                        file.path, file.item.data, mode="create", executable=file.item.executable
                    )
                else:
                    written = await self._backend.write(
                        file.path, file.item.data, if_match=file.old.sha256, executable=file.item.executable
                    )
        except DevboxError as error:
            error.path = file.item.path.text if error.path == file.path.text else error.path
            file.error = error
        else:
            file.written = Written(
                replace(written.info, path=file.item.path),
                written.created,
                written.previous,
                written.unlinked,
            )

    async def _undo(self) -> None:
        attempted = [file for file in self._files if file.attempted and not file.failed]
        for file in reversed(attempted):
            new = hashlib.sha256(file.item.data).hexdigest()
            try:
                if file.old is None or file.old_content is None:
                    await self._backend.delete(file.path, if_match=new)
                else:
                    await self._put_back(file.path, file.old, file.old_content, new)
            except (*GONE, Conflict):
                pass  # it was not written, or is somebody else's by now
            except DevboxError:
                self._left.append(file.item.path.text)
        made = {path for file in self._files if file.attempted for path in file.made}
        for path in sorted(made, key=lambda path: -path.text.count("/")):
            with suppress(DevboxError):  # it was never made, or somebody else has put something into it
                await self._backend.delete(path)

    async def _put_back(self, path: SandboxPath, old: FileInfo, content: IO[bytes], new: str) -> None:
        if old.sha256 == new:
            current = await self._backend.stat(path)
        else:
            content.seek(0)
            current = (await self._backend.write(path, _chunks(content), if_match=new)).info
        if current.mode != old.mode:
            await self._backend.chmod(path, old.mode)


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk
