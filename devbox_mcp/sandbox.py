"""One open devbox: what every door calls.

It parses a path once, applies the limits, writes the audit record, and adds text and edits on top of bytes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from devbox_mcp import edits as editing
from devbox_mcp.arriving import Uploads
from devbox_mcp.audit import Followed
from devbox_mcp.backends.base import Backend, Progress
from devbox_mcp.callers import Caller, Scope
from devbox_mcp.errors import Conflict, DevboxError, InvalidArgument, TooLarge
from devbox_mcp.limits import Limits
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
from devbox_mcp.naming import Naming
from devbox_mcp.paths import ROOT, SandboxPath
from devbox_mcp.recording import Recorder
from devbox_mcp.revising import Edited, Reviser

N = TypeVar("N", int, float)


class Sandbox:
    """A devbox by name, open."""

    def __init__(
        self,
        name: str,
        backend: Backend,
        root: str,
        limits: Limits,
        recorder: Recorder,
        reviser: Reviser | None = None,
    ) -> None:
        """``root`` is what ``backend.root()`` answered."""
        self.name = name
        self.root = root
        self.limits = limits
        self._backend = backend
        self._recorder = recorder
        self._naming = Naming(name, root, backend)
        self._reviser = reviser or Reviser(backend, limits.edit)

    def called_by(self, caller: Caller) -> Sandbox:
        """Return the same open devbox as a caller meets it: with its rights, and its name in the audit log."""
        recorder = self._recorder.called_by(caller)
        return Sandbox(self.name, self._backend, self.root, self.limits, recorder, self._reviser)

    @property
    def uploads(self) -> Uploads:
        """Files that arrive in parts."""
        return Uploads(self._backend, lambda path: self._recorder.doing("upload", path, Scope.WRITE))

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the backend does natively; see ``Capability``."""
        return self._backend.capabilities

    async def describe(self) -> Description:
        """Say what works on the files here."""
        with self._recorder.doing("describe", "."):
            return await self._backend.describe()

    async def parse(self, text: str, op: str) -> SandboxPath:
        """Parse a path as a caller wrote it; see Naming.parse. One that is refused is on record.

        Raises InvalidArgument, EscapesRoot, and Unavailable where that cannot be recorded.
        """
        try:
            return await self._naming.parse(text, op)
        except DevboxError as error:
            self.refused(op, text, error)
            raise

    async def contains(self, absolute: str) -> SandboxPath | None:
        """See Naming.beneath."""
        return await self._naming.beneath(absolute)

    def refused(self, op: str, name: str, error: DevboxError) -> None:
        """See Recorder.refused."""
        self._recorder.refused(op, name, error)

    def require(self, op: str, path: SandboxPath, scope: Scope) -> None:
        """See Recorder.require."""
        self._recorder.require(op, path.text, scope)

    async def stat(self, path: SandboxPath, *, follow: bool = True, sha256: bool = False) -> FileInfo:
        """Describe an entry; see Backend.stat."""
        with self._recorder.doing("stat", path.text):
            return await self._backend.stat(path, follow=follow, sha256=sha256)

    async def list(
        self,
        path: SandboxPath,
        *,
        depth: int = 1,
        glob: str | None = None,
        limit: int | None = None,
        after: SandboxPath | None = None,
        details: bool = False,
    ) -> Page:
        """List a directory; see Backend.list."""
        with self._recorder.doing("list", path.text):
            _check_range("list", path, "depth", depth, self.limits.depth)
            glob = self._glob("list", path, glob)
            return await self._backend.list(
                path, depth=depth, glob=glob, limit=self._page("list", path, limit), after=after, details=details
            )

    async def names(
        self,
        path: SandboxPath,
        *,
        depth: int = 1,
        glob: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> Names:
        """List a directory by name only; see Backend.names."""
        with self._recorder.doing("list", path.text):
            _check_range("list", path, "depth", depth, self.limits.depth)
            most = self._page("list", path, limit)
            glob = self._glob("list", path, glob)
            return await self._backend.names(path, depth=depth, glob=glob, limit=most, after=after)

    async def read_lines(
        self, path: SandboxPath, *, first: int = 1, count: int | None = None, max_bytes: int | None = None
    ) -> Lines:
        """Return a window of lines within the text limit, or less; see Backend.read_lines."""
        with self._recorder.doing("read", path.text) as record:
            if count is not None and count < 1:
                raise InvalidArgument("read", path.text, f"limit is {count}, but a number of lines is at least 1")
            if first == 0:
                raise InvalidArgument(
                    "read", path.text, "lines are counted from 1", hint="a negative offset counts from the end"
                )
            lines = await self._backend.read_lines(
                path, first=first, count=count, max_bytes=_least(max_bytes, self.limits.text)
            )
            record.bytes = len(lines.data)
            return lines

    async def read_bytes(self, path: SandboxPath, *, offset: int = 0, length: int | None = None) -> Content:
        """Stream a range of bytes; see Backend.read. Where they do not all go, a second record tells how many did."""
        with self._recorder.doing("read", path.text) as record:
            if offset < 0 or (length is not None and length < 0):
                raise InvalidArgument("read", path.text, "a range of bytes has no negative offset or length")
            content = await self._backend.read(path, offset=offset, length=length)
            there = max(content.info.size - content.offset, 0)
            record.bytes = promised = there if length is None else min(length, there)
        chunks = Followed(content.chunks, promised, lambda: self._recorder.done("read", path.text))
        return Content(content.info, content.offset, chunks)

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
        """Write a file; see Backend.write. A Conflict carries ``diff``, from what is there to what was to be
        written, where both are text of moderate size."""
        with self._recorder.doing("write", path.text, Scope.WRITE) as record:
            try:
                written = await self._backend.write(
                    path, data, mode=mode, if_match=if_match, executable=executable, in_place=in_place
                )
            except Conflict as conflict:
                if isinstance(data, bytes) and mode != "append":
                    await self._reviser.explain(conflict, path, data)
                raise
            record.sha256 = written.info.sha256
            record.bytes = len(data) if isinstance(data, bytes) else written.info.size
            return written

    async def edit(
        self,
        path: SandboxPath,
        edits: Sequence[editing.Edit],
        *,
        if_match: str | None = None,
        dry_run: bool = False,
        in_place: bool = False,
    ) -> Edited:
        """Replace exact texts, all or nothing; see Reviser.edit."""
        with self._recorder.doing("edit", path.text, Scope.READ if dry_run else Scope.WRITE) as record:
            done = await self._reviser.edit(path, edits, if_match=if_match, dry_run=dry_run, in_place=in_place)
            if done.written is not None:
                record.sha256, record.bytes = done.written.info.sha256, done.written.info.size
            return done

    async def make_dir(self, path: SandboxPath) -> bool:
        """Make a directory and its missing parents; False if it was there."""
        with self._recorder.doing("mkdir", path.text, Scope.WRITE):
            return await self._backend.mkdir(path)

    async def delete(self, path: SandboxPath, *, recursive: bool = False, if_match: str | None = None) -> int:
        """Delete an entry and return how many went; see Backend.delete."""
        with self._recorder.doing("delete", path.text, Scope.WRITE):
            return await self._backend.delete(path, recursive=recursive, if_match=if_match)

    async def move(
        self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False, if_match: str | None = None
    ) -> FileInfo:
        """Rename an entry; see Backend.move."""
        with self._recorder.doing("move", source.text, Scope.WRITE) as record:
            record.destination = destination.text
            return await self._backend.move(source, destination, overwrite=overwrite, if_match=if_match)

    async def copy(self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False) -> FileInfo:
        """Copy a file or a tree; see Backend.copy."""
        with self._recorder.doing("copy", source.text, Scope.WRITE) as record:
            record.destination = destination.text
            return await self._backend.copy(source, destination, overwrite=overwrite)

    async def chmod(self, path: SandboxPath, mode: int, *, recursive: bool = False) -> int:
        """Set permission bits; see Backend.chmod."""
        with self._recorder.doing("chmod", path.text, Scope.WRITE):
            return await self._backend.chmod(path, mode, recursive=recursive)

    async def find(
        self,
        path: SandboxPath,
        pattern: str,
        *,
        sort: SortOrder = "name",
        ignored: bool = False,
        limit: int | None = None,
        after: str | None = None,
        seconds: float | None = None,
    ) -> Found:
        """Find entries by glob; see Backend.find."""
        with self._recorder.doing("find", path.text):
            most = self._page("find", path, limit)
            return await self._backend.find(
                path,
                self._naming.glob(pattern, path, "find"),
                sort=sort,
                ignored=ignored,
                limit=most,
                after=after,
                seconds=_least(seconds, self.limits.search_seconds),
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
        limit: int | None = None,
        after: str | None = None,
        seconds: float | None = None,
    ) -> Matches:
        """Find matching lines; see Backend.search."""
        with self._recorder.doing("search", path.text):
            most = self.limits.matches if limit is None else limit
            _check_range("search", path, "limit", most, self.limits.page_most)
            return await self._backend.search(
                path,
                pattern,
                glob=self._glob("search", path, glob),
                regex=regex,
                ignore_case=ignore_case,
                context=context,
                ignored=ignored,
                limit=most,
                after=after,
                seconds=_least(seconds, self.limits.search_seconds),
            )

    async def write_batch(self, items: Sequence[BatchItem], *, atomic: bool = False) -> Sequence[BatchOutcome]:
        """Write many files; see Backend.write_batch. Every file has an audit record of its own."""
        total = sum(len(item.data) for item in items)
        if len(items) > self.limits.batch_files or total > self.limits.batch:
            raise TooLarge(
                "upload_batch",
                ".",
                f"{len(items)} files with {total} bytes are over the limit of {self.limits.batch_files} files "
                f"and {self.limits.batch} bytes a batch",
                hint="send several batches",
            )
        self._recorder.require("write", items[0].path.text if items else ".", Scope.WRITE)
        try:
            outcomes = await self._backend.write_batch(items, atomic=atomic)
        except BaseException:
            with self._recorder.done("write", "."):
                raise
        self._recorder.written(items, outcomes)
        return outcomes

    async def archive(
        self,
        items: Sequence[SandboxPath],
        *,
        max_bytes: int | None = None,
        max_files: int | None = None,
        on_progress: Progress | None = None,
    ) -> Archive:
        """Stream a zip within the transfer limit, or less; see Backend.archive."""
        with self._recorder.doing("archive", " ".join(path.text for path in items)[:1000]):
            if not items:
                raise InvalidArgument("download_zip", ".", "paths is empty", hint="use . for everything")
            return await self._backend.archive(
                items,
                max_bytes=_least(max_bytes, self.limits.transfer),
                max_files=_least(max_files, self.limits.archive_files),
                on_progress=on_progress,
            )

    async def watch(
        self,
        path: SandboxPath,
        *,
        cursor: str | None = None,
        timeout: float = 4.0,
        recursive: bool = True,
        limit: int | None = None,
    ) -> Events:
        """Return or await changes; see Backend.watch."""
        with self._recorder.doing("watch", path.text):
            if not 0 <= timeout <= self.limits.watch:
                raise InvalidArgument(
                    "watch", path.text, f"timeout is {timeout:g}, but from 0 to {self.limits.watch:g} seconds"
                )
            most = self._page("watch", path, limit)
            return await self._backend.watch(path, cursor=cursor, timeout=timeout, recursive=recursive, limit=most)

    async def poll(
        self, path: SandboxPath, cursor: str | None, *, timeout: float = 0, recursive: bool = True
    ) -> Events:
        """Return the changes since a cursor, at once or within ``timeout``; the door's own looking, which is no
        operation to audit."""
        return await self._backend.watch(path, cursor=cursor, timeout=timeout, recursive=recursive)

    async def probe(self) -> None:
        """Find out whether the devbox answers; no operation to audit. Raises DevboxError."""
        await self._backend.stat(ROOT)

    async def aclose(self) -> None:
        """Close the backend."""
        await self._backend.aclose()

    def _glob(self, op: str, path: SandboxPath, glob: str | None) -> str | None:
        return None if glob is None else self._naming.glob(glob, path, op)

    def _page(self, op: str, path: SandboxPath, limit: int | None) -> int:
        if limit is None:
            return self.limits.page
        _check_range(op, path, "limit", limit, self.limits.page_most)
        return limit


def _least(asked: N | None, limit: N) -> N:
    """Return what was asked for, within the limit."""
    return limit if asked is None else min(asked, limit)


def _check_range(op: str, path: SandboxPath, name: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise InvalidArgument(op, path.text, f"{name} is {value}, but from 1 to {most}")
