"""Finding entries by glob, in lists."""

from __future__ import annotations

import heapq
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.composed.walk import Walk, parts_below
from devbox_mcp.errors import InvalidArgument
from devbox_mcp.guest.globs import Glob
from devbox_mcp.guest.names import parts
from devbox_mcp.guest.paging import make_cursor, read_cursor
from devbox_mcp.models import FileInfo, Found, SortOrder
from devbox_mcp.paths import SandboxPath


class Find:
    """One call. The newest are known only when the walk is over; where the time is, they are the newest of what
    was seen until then."""

    def __init__(self, backend: Backend, path: SandboxPath, pattern: str, *, ignored: bool, limit: int) -> None:
        """Raises GuestError for what is no glob."""
        self._path = path
        self._glob = Glob(pattern)
        self._limit = limit
        self._walk = Walk(backend, path, ignored=ignored, details=True, enter=self._glob.leads_on)

    async def run(self, sort: SortOrder, after: str | None, seconds: float) -> Found:
        """Answer as ``Backend.find``. Raises what ``list`` raises."""
        if sort == "name":
            return await self._by_name(after, seconds)
        if sort == "newest":
            return await self._newest(after, seconds)
        raise InvalidArgument("find", self._path.text, f"there is no order {sort}", hint="sort by name or newest")

    async def _by_name(self, after: str | None, seconds: float) -> Found:
        (position,) = read_cursor(after, "name", self._path.text, str) or ["."]
        found: list[FileInfo] = []
        more = False
        with anyio.move_on_after(seconds) as scope:
            async with aclosing(self._walk.entries(tuple(parts(position)))) as entries:
                async for entry in entries:
                    if self._glob.matches(parts_below(entry.path, self._path)):
                        more = len(found) == self._limit
                        if more:
                            break
                        found.append(entry)
                    position = entry.path.below(self._path)
        timed_out = scope.cancelled_caught
        cursor = make_cursor("name", self._path.text, position) if more or timed_out else None
        return Found(found, cursor, timed_out, len(self._walk.unreadable))

    async def _newest(self, after: str | None, seconds: float) -> Found:
        last = read_cursor(after, "newest", self._path.text, float, str)
        behind = None if last is None else (-last[0], os.fsencode(last[1]))
        most = self._limit + 1
        kept: list[FileInfo] = []
        with anyio.move_on_after(seconds) as scope:
            async with aclosing(self._matches()) as matches:
                async for entry in matches:
                    if behind is None or _rank(entry) > behind:
                        kept.append(entry)
                        if len(kept) >= 2 * most:
                            kept = heapq.nsmallest(most, kept, key=_rank)
        found = heapq.nsmallest(most, kept, key=_rank)
        shown = found[: self._limit]
        cursor = None
        if len(found) > self._limit:
            cursor = make_cursor("newest", self._path.text, float(shown[-1].modified), shown[-1].path.text)
        return Found(shown, cursor, scope.cancelled_caught, len(self._walk.unreadable))

    async def _matches(self) -> AsyncGenerator[FileInfo, None]:
        async with aclosing(self._walk.entries()) as entries:
            async for entry in entries:
                if self._glob.matches(parts_below(entry.path, self._path)):
                    yield entry


def _rank(entry: FileInfo) -> tuple[float, bytes]:
    """Return what is the less the newer an entry is."""
    return (-entry.modified, os.fsencode(entry.path.text))
