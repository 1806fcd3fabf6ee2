"""Searching text: candidates are listed, streamed here, and matched in a process of their own."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

import anyio

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.composed.ahead import Open, read_ahead
from devbox_mcp.backends.composed.matching import Matcher
from devbox_mcp.backends.composed.small import GONE, closing, of_one
from devbox_mcp.backends.composed.walk import Parts, Walk, parts_below
from devbox_mcp.errors import DevboxError
from devbox_mcp.guest.globs import Glob
from devbox_mcp.guest.names import parts
from devbox_mcp.guest.paging import make_cursor, read_cursor
from devbox_mcp.models import FileInfo, Gap, Match, Matches
from devbox_mcp.paths import SandboxPath

_ALL_LINES = -1  # in a cursor: on with the next file

#: A path below the start and a line in it, up to which all is told, and perhaps the match that is in this line.
_Step = tuple[str, int, Match | None]


class Search:
    """One call. At most a few chunks of one file are held at a time."""

    def __init__(self, backend: Backend, path: SandboxPath, *, glob: str | None, ignored: bool, limit: int) -> None:
        """Raises GuestError for what is no glob."""
        self._backend = backend
        self._path = path
        self._glob = None if glob is None else Glob(glob)
        self._limit = limit
        self._walk = Walk(backend, path, ignored=ignored, details=False, enter=self._may_hold_matches)
        self._files = 0
        self._binary = 0
        self._unreadable = 0
        self._gaps: list[Gap] = []

    async def run(self, matcher: Matcher, request: dict[str, Any], after: str | None, seconds: float) -> Matches:
        """Answer as ``Backend.search``. Raises what ``stat``, ``read`` and ``list`` raise, InvalidArgument."""
        start = below, line = tuple(read_cursor(after, "lines", self._path.text, str, int) or (".", 0))
        parts(below)
        found: list[Match] = []
        more = False
        deadline = time.monotonic() + seconds
        with anyio.move_on_after(seconds) as scope:
            await matcher.begin({**request, "seconds": seconds})
            async with aclosing(self._steps(matcher, below, line)) as steps:
                async for step in steps:
                    more = step[2] is not None and len(found) == self._limit
                    if more:
                        break
                    below, line, match = step
                    if match is not None:
                        found.append(match)
                    if time.monotonic() > deadline:
                        # what is there already never waits, and so is never cancelled
                        await anyio.lowlevel.checkpoint()
        timed_out = scope.cancelled_caught
        onward = (more or timed_out) and (below, line) != start
        cursor = make_cursor("lines", self._path.text, below, line) if onward else None
        unreadable = self._unreadable + len(self._walk.unreadable)
        return Matches(found, self._files, cursor, timed_out, self._binary, unreadable, self._gaps)

    async def _steps(self, matcher: Matcher, below: str, line: int) -> AsyncGenerator[_Step, None]:
        """Go on behind a line of a file, both as a cursor has them."""
        if (await self._backend.stat(self._path)).type != "directory":
            async with aclosing(
                self._lines(matcher, partial(self._backend.read, self._path), self._path, ".", line)
            ) as steps:
                async for step in steps:
                    yield step
            return
        resume = tuple(parts(below))
        if resume and line != _ALL_LINES:
            path = self._path.child(below)
            resumed = self._readable(matcher, partial(self._backend.read, path), path, below, line)
            async with aclosing(resumed) as steps:
                async for step in steps:
                    yield step
        async with (
            aclosing(self._walk.entries(resume)) as listed,
            aclosing(read_ahead(self._backend, listed, self._is_wanted)) as entries,
        ):
            async for entry, open_file in entries:
                below = entry.path.below(self._path)
                if self._is_wanted(entry):
                    async with aclosing(self._readable(matcher, open_file, entry.path, below, 0)) as steps:
                        async for step in steps:
                            yield step
                yield below, _ALL_LINES, None

    def _is_wanted(self, entry: FileInfo) -> bool:
        return entry.type == "file" and (self._glob is None or self._glob.matches(parts_below(entry.path, self._path)))

    def _may_hold_matches(self, names: Parts) -> bool:
        return self._glob is None or self._glob.leads_on(names)

    async def _readable(
        self, matcher: Matcher, open_file: Open, path: SandboxPath, below: str, line: int
    ) -> AsyncGenerator[_Step, None]:
        """Search a file, or count it among the unreadable ones."""
        try:
            async with aclosing(self._lines(matcher, open_file, path, below, line)) as steps:
                async for step in steps:
                    yield step
        except GONE:
            return
        except DevboxError as error:
            if not of_one(error):
                raise
            self._unreadable += 1

    async def _lines(
        self, matcher: Matcher, open_file: Open, path: SandboxPath, below: str, line: int
    ) -> AsyncGenerator[_Step, None]:
        async with (
            closing(await open_file()) as content,
            aclosing(matcher.steps(aiter(content), line)) as steps,
        ):
            self._files += 1
            async for number, match in steps:
                yield below, number, None if match is None else Match(path, **match)
        if matcher.binary:
            self._files -= 1
            self._binary += 1
        if matcher.gap is not None:
            self._gaps.append(Gap(path, **matcher.gap))
