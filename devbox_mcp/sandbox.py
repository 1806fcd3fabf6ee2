"""One open devbox: what every door calls.

It parses a path once, applies the limits, writes the audit record, and adds text and edits on top of bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from weakref import WeakValueDictionary

from devbox_mcp import edits as editing
from devbox_mcp import paths
from devbox_mcp.audit import AuditLog, audited
from devbox_mcp.backends.base import Backend, Progress
from devbox_mcp.errors import Conflict, DevboxError, EscapesRoot, InvalidArgument, TooLarge
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.versions import check_prefix
from devbox_mcp.limits import Limits
from devbox_mcp.models import (
    Archive,
    BatchItem,
    BatchOutcome,
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

#: How long an edit without if_match is repeated on what others write meanwhile, in seconds.
_EDIT_PATIENCE = 30.0
_DIFF_LINES = 2000
_CONFLICT_DIFF_BYTES = 256 * 1024
_CONFLICT_DIFF_LINES = 60


@dataclass(frozen=True, slots=True)
class Edited:
    """What an edit did, or would do: ``diff`` in unified form, ``replacements`` how many places, ``written`` None
    for a dry run, ``previous`` the sha256 of what was edited."""

    path: SandboxPath
    diff: str
    replacements: int
    previous: str
    written: Written | None


class Sandbox:
    """A devbox by name, open."""

    def __init__(self, name: str, backend: Backend, root: str, limits: Limits, audit: AuditLog) -> None:
        """``root`` is what ``backend.root()`` answered."""
        self.name = name
        self.root = root
        self.limits = limits
        self._backend = backend
        self._audit = audit
        self._turns: WeakValueDictionary[SandboxPath, asyncio.Lock] = WeakValueDictionary()

    async def parse(self, text: str, op: str) -> SandboxPath:
        """Parse a path as a caller wrote it: relative, absolute beneath the root, or a ``devbox://`` URI.

        Raises InvalidArgument, EscapesRoot.
        """
        uri = paths.split_uri(text)
        if uri is not None:
            if uri[0] != self.name:
                raise InvalidArgument(op, text, f"this URI belongs to another devbox than {self.name}")
            text = uri[1]
            if paths.is_absolute(text):
                raise InvalidArgument(op, text, "the path in a devbox:// URI is relative to the root")
        if not paths.is_absolute(text):
            return paths.parse(text, op)
        found = await self.contains(text)
        if found is None:
            raise EscapesRoot(op, text, "this absolute path is outside the root")
        return found

    async def contains(self, absolute: str) -> SandboxPath | None:
        """Return the path beneath the root for an absolute one, None if it is not beneath it."""
        if "\0" in absolute:
            return None
        below = paths.beneath(absolute, self.root)
        return await self._backend.relative(absolute) if below is None else SandboxPath(below)

    async def stat(self, path: SandboxPath, *, sha256: bool = False) -> FileInfo:
        """Describe an entry; see Backend.stat."""
        with audited(self._audit, self.name, "stat", path.text):
            return await self._backend.stat(path, sha256=sha256)

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
        with audited(self._audit, self.name, "list", path.text):
            _check_range("list", path, "depth", depth, self.limits.depth)
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
        with audited(self._audit, self.name, "list", path.text):
            _check_range("list", path, "depth", depth, self.limits.depth)
            most = self._page("list", path, limit)
            return await self._backend.names(path, depth=depth, glob=glob, limit=most, after=after)

    async def read_lines(self, path: SandboxPath, *, first: int = 1, count: int | None = None) -> Lines:
        """Return a window of lines within the text limit; see Backend.read_lines."""
        with audited(self._audit, self.name, "read", path.text) as record:
            if count is not None and count < 1:
                raise InvalidArgument("read", path.text, f"limit is {count}, but a number of lines is at least 1")
            if first == 0:
                raise InvalidArgument(
                    "read", path.text, "lines are counted from 1", hint="a negative offset counts from the end"
                )
            lines = await self._backend.read_lines(path, first=first, count=count, max_bytes=self.limits.text)
            record.bytes = len(lines.data)
            return lines

    async def read_bytes(self, path: SandboxPath, *, offset: int = 0, length: int | None = None) -> Content:
        """Stream a range of bytes; see Backend.read."""
        with audited(self._audit, self.name, "read", path.text) as record:
            if offset < 0 or (length is not None and length < 0):
                raise InvalidArgument("read", path.text, "a range of bytes has no negative offset or length")
            content = await self._backend.read(path, offset=offset, length=length)
            record.bytes = max(content.info.size - content.offset, 0) if length is None else length
            return content

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
        with audited(self._audit, self.name, "write", path.text) as record:
            try:
                written = await self._backend.write(
                    path, data, mode=mode, if_match=if_match, executable=executable, in_place=in_place
                )
            except Conflict as conflict:
                if isinstance(data, bytes) and mode != "append":
                    await self._explain(conflict, path, data)
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
        """Replace exact texts, all or nothing. Without ``if_match`` the edits are made to what is there, again
        if somebody else writes meanwhile; with it, Conflict. Raises EditMismatch, TooLarge, Unsupported."""
        with audited(self._audit, self.name, "edit", path.text) as record:
            _check_version("edit", path, if_match)
            give_up = time.monotonic() + _EDIT_PATIENCE
            # one after the other in this process, for those who lose a race have flushed a draft for nothing
            async with self._turns.setdefault(path, asyncio.Lock()):
                while True:
                    try:
                        done = await self._edit_once(path, edits, if_match, dry_run=dry_run, in_place=in_place)
                    except Conflict:
                        if if_match is not None or time.monotonic() > give_up:
                            raise
                        continue
                    if done.written is not None:
                        record.sha256, record.bytes = done.written.info.sha256, done.written.info.size
                    return done

    async def _edit_once(
        self, path: SandboxPath, edits: Sequence[editing.Edit], if_match: str | None, *, dry_run: bool, in_place: bool
    ) -> Edited:
        """Edit the version that is there now. Raises Conflict if it is another one when it comes to writing."""
        old, previous = await self._whole(path)
        if if_match is not None and not previous.startswith(if_match):
            raise await self._stale(path, old, previous, edits)
        # off the event loop: comparing long files takes seconds
        result, diff = await asyncio.to_thread(_edited, old, edits, path)
        written = None
        if not dry_run:
            written = await self._backend.write(path, result.data, if_match=previous, in_place=in_place)
        return Edited(path, diff, result.replacements, previous, written)

    async def make_dir(self, path: SandboxPath) -> bool:
        """Make a directory and its missing parents; False if it was there."""
        with audited(self._audit, self.name, "mkdir", path.text):
            return await self._backend.mkdir(path)

    async def delete(self, path: SandboxPath, *, recursive: bool = False, if_match: str | None = None) -> int:
        """Delete an entry and return how many went; see Backend.delete."""
        with audited(self._audit, self.name, "delete", path.text):
            return await self._backend.delete(path, recursive=recursive, if_match=if_match)

    async def move(
        self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False, if_match: str | None = None
    ) -> FileInfo:
        """Rename an entry; see Backend.move."""
        with audited(self._audit, self.name, "move", source.text) as record:
            record.destination = destination.text
            return await self._backend.move(source, destination, overwrite=overwrite, if_match=if_match)

    async def copy(self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False) -> FileInfo:
        """Copy a file or a tree; see Backend.copy."""
        with audited(self._audit, self.name, "copy", source.text) as record:
            record.destination = destination.text
            return await self._backend.copy(source, destination, overwrite=overwrite)

    async def chmod(self, path: SandboxPath, mode: int, *, recursive: bool = False) -> int:
        """Set permission bits; see Backend.chmod."""
        with audited(self._audit, self.name, "chmod", path.text):
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
    ) -> Found:
        """Find entries by glob; see Backend.find."""
        with audited(self._audit, self.name, "find", path.text):
            most = self._page("find", path, limit)
            return await self._backend.find(
                path, pattern, sort=sort, ignored=ignored, limit=most, after=after, seconds=self.limits.search_seconds
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
    ) -> Matches:
        """Find matching lines; see Backend.search."""
        with audited(self._audit, self.name, "search", path.text):
            most = self.limits.matches if limit is None else limit
            _check_range("search", path, "limit", most, self.limits.page_most)
            return await self._backend.search(
                path,
                pattern,
                glob=glob,
                regex=regex,
                ignore_case=ignore_case,
                context=context,
                ignored=ignored,
                limit=most,
                after=after,
                seconds=self.limits.search_seconds,
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
        outcomes = await self._backend.write_batch(items, atomic=atomic)
        for item, outcome in zip(items, outcomes, strict=True):
            try:
                with audited(self._audit, self.name, "write", item.path.text) as record:
                    if outcome.error is not None:
                        raise outcome.error
                    record.bytes = len(item.data)
                    record.sha256 = outcome.written.info.sha256 if outcome.written is not None else None
            except DevboxError:
                continue
        return outcomes

    async def archive(self, items: Sequence[SandboxPath], *, on_progress: Progress | None = None) -> Archive:
        """Stream a zip within the transfer limit; see Backend.archive."""
        with audited(self._audit, self.name, "archive", " ".join(path.text for path in items)[:1000]):
            if not items:
                raise InvalidArgument("download_zip", ".", "paths is empty", hint="use . for everything")
            return await self._backend.archive(
                items,
                max_bytes=self.limits.transfer,
                max_files=self.limits.archive_files,
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
        with audited(self._audit, self.name, "watch", path.text):
            if not 0 <= timeout <= self.limits.watch:
                raise InvalidArgument(
                    "watch", path.text, f"timeout is {timeout:g}, but from 0 to {self.limits.watch:g} seconds"
                )
            most = self._page("watch", path, limit)
            return await self._backend.watch(path, cursor=cursor, timeout=timeout, recursive=recursive, limit=most)

    async def poll(self, path: SandboxPath, cursor: str | None) -> Events:
        """Return the changes since a cursor at once; the door's own looking, which is no operation to audit."""
        return await self._backend.watch(path, cursor=cursor, timeout=0)

    async def aclose(self) -> None:
        """Close the backend."""
        await self._backend.aclose()

    def _page(self, op: str, path: SandboxPath, limit: int | None) -> int:
        if limit is None:
            return self.limits.page
        _check_range(op, path, "limit", limit, self.limits.page_most)
        return limit

    async def _whole(self, path: SandboxPath) -> tuple[bytes, str]:
        """Return a file's content and its sha256, within the edit limit."""
        content = await self._backend.read(path)
        if content.info.size > self.limits.edit:
            await content.aclose()
            raise TooLarge(
                "edit",
                path.text,
                f"{content.info.size} bytes are more than the {self.limits.edit} that an edit takes",
                hint="edit it with a program in the sandbox, or write the parts to smaller files",
            )
        data = await content.read()
        return data, hashlib.sha256(data).hexdigest()

    async def _stale(self, path: SandboxPath, old: bytes, previous: str, edits: Sequence[editing.Edit]) -> Conflict:
        """Return the conflict for an edit of another version than this one, and what it would do to this one."""
        conflict = Conflict("edit", path.text, "the file is not the version that if_match names", sha256=previous)
        with suppress(DevboxError):
            _, diff = await asyncio.to_thread(_edited, old, edits, path, _CONFLICT_DIFF_LINES)
            conflict.data["diff"] = diff
        return conflict

    async def _explain(self, conflict: Conflict, path: SandboxPath, data: bytes) -> None:
        """Add the difference between what is there and what was to be written, if it can be shown."""
        if len(data) > _CONFLICT_DIFF_BYTES or conflict.data.get("sha256") is None:
            return
        try:
            content = await self._backend.read(path)
            if content.info.size > _CONFLICT_DIFF_BYTES:
                await content.aclose()
                return
            current = await content.read()
        except DevboxError:
            return
        if b"\0" not in current and b"\0" not in data:
            conflict.data["diff"] = editing.unified_diff(current, data, path.text, max_lines=_CONFLICT_DIFF_LINES)


def _check_range(op: str, path: SandboxPath, name: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise InvalidArgument(op, path.text, f"{name} is {value}, but from 1 to {most}")


def _check_version(op: str, path: SandboxPath, if_match: str | None) -> None:
    try:
        check_prefix(if_match, path.text)
    except GuestError as error:
        raise InvalidArgument(op, path.text, error.detail) from None


def _edited(
    old: bytes, edits: Sequence[editing.Edit], path: SandboxPath, max_lines: int = _DIFF_LINES
) -> tuple[editing.Edited, str]:
    """Return what the edits make, and how it differs."""
    result = editing.apply(old, edits, path.text)
    return result, editing.unified_diff(old, result.data, path.text, max_lines=max_lines)
