"""Edits on top of bytes: read a version, make the edits to it, write it back if it still is that version."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from weakref import WeakValueDictionary

from devbox_mcp import edits as editing
from devbox_mcp.backends.base import Backend
from devbox_mcp.errors import Conflict, DevboxError, InvalidArgument, TooLarge
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.versions import check_prefix
from devbox_mcp.models import Written
from devbox_mcp.paths import SandboxPath

#: How long an edit without if_match is repeated on what others write meanwhile, in seconds.
_PATIENCE = 30.0
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


class Reviser:
    """Edits the files of a backend."""

    def __init__(self, backend: Backend, most: int) -> None:
        """``most`` is the size of the largest file that is edited, in bytes."""
        self._backend = backend
        self._most = most
        self._turns: WeakValueDictionary[SandboxPath, asyncio.Lock] = WeakValueDictionary()

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
        _check_version("edit", path, if_match)
        give_up = time.monotonic() + _PATIENCE
        # one after the other in this process, for those who lose a race have flushed a draft for nothing
        async with self._turns.setdefault(path, asyncio.Lock()):
            while True:
                try:
                    return await self._once(path, edits, if_match, dry_run=dry_run, in_place=in_place)
                except Conflict:
                    if if_match is not None or time.monotonic() > give_up:
                        raise

    async def explain(self, conflict: Conflict, path: SandboxPath, data: bytes) -> None:
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

    async def _once(
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

    async def _whole(self, path: SandboxPath) -> tuple[bytes, str]:
        """Return a file's content and its sha256, within the limit."""
        try:
            content = await self._backend.read(path)
        except DevboxError as error:
            error.op = "edit"
            raise
        if content.info.size > self._most:
            await content.aclose()
            raise TooLarge(
                "edit",
                path.text,
                f"{content.info.size} bytes are more than the {self._most} that an edit takes",
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
