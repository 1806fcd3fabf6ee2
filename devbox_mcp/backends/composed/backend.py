"""A backend that has only the small contract, made whole."""

from __future__ import annotations

from collections.abc import Sequence

from devbox_mcp.backends.base import Backend, Progress
from devbox_mcp.backends.composed import archive, batch, naming
from devbox_mcp.backends.composed.find import Find
from devbox_mcp.backends.composed.lines import LineReader
from devbox_mcp.backends.composed.matching import Matcher, started
from devbox_mcp.backends.composed.search import Search
from devbox_mcp.backends.composed.small import as_one
from devbox_mcp.backends.composed.watching import Watches
from devbox_mcp.errors import Unavailable
from devbox_mcp.models import (
    Archive,
    BatchItem,
    BatchOutcome,
    Capability,
    Events,
    Found,
    Lines,
    Matches,
    Names,
    SortOrder,
)
from devbox_mcp.paths import SandboxPath


class Composed(Backend):
    """Everything beyond the small contract, composed from it: files come here and are worked on here. A subclass
    implements the small contract, calls ``super().__init__()`` and ``super().aclose()``, and overrides what it can
    do better where the files are.

    ``FileInfo.revision`` of its ``stat``, ``list`` (with details) and ``read`` has to tell one file from another by
    what is before the first dash (an inode's number), and to change with every change: by that, watching sees
    changes and moves. See ``batch.py`` for what ``write_batch`` promises."""

    #: No uploads that others go on with: what has arrived would have to be locked where it lies.
    capabilities = frozenset(Capability) - {Capability.UPLOAD}

    def __init__(self) -> None:
        self._reader = LineReader(self)
        self._watches = Watches(self)
        self._matchers: set[Matcher] = set()
        self._composing = True

    async def aclose(self) -> None:
        """End what is under way; it raises Unavailable, and so do later calls."""
        self._composing = False
        self._watches.close()
        for matcher in self._matchers:
            matcher.kill()

    def _check_composing(self, op: str, path: SandboxPath) -> None:
        if not self._composing:
            raise Unavailable(op, path.text, "this devbox was closed")

    async def names(
        self,
        path: SandboxPath,
        *,
        depth: int = 1,
        glob: str | None = None,
        limit: int = 1000,
        after: str | None = None,
    ) -> Names:
        with as_one("list"):
            return await naming.list_names(self, path, depth=depth, glob=glob, limit=limit, after=after)

    async def read_lines(self, path: SandboxPath, *, first: int, count: int | None, max_bytes: int) -> Lines:
        with as_one("read"):
            return await self._reader.read_lines(path, first, count, max_bytes)

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
        with as_one("find"):
            return await Find(self, path, pattern, ignored=ignored, limit=limit).run(sort, after, seconds)

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
        self._check_composing("search", path)
        request = {"pattern": pattern, "regex": regex, "ignore_case": ignore_case, "context": context}
        with as_one("search"):
            search = Search(self, path, glob=glob, ignored=ignored, limit=limit)
            async with started(path) as matcher:
                self._matchers.add(matcher)
                try:
                    return await search.run(matcher, request, after, seconds)
                finally:
                    self._matchers.discard(matcher)

    async def watch(
        self,
        path: SandboxPath,
        *,
        cursor: str | None = None,
        timeout: float = 4.0,
        recursive: bool = True,
        limit: int = 1000,
    ) -> Events:
        self._check_composing("watch", path)
        with as_one("watch"):
            return await self._watches.changes(path, cursor=cursor, timeout=timeout, recursive=recursive, limit=limit)

    async def archive(
        self,
        paths: Sequence[SandboxPath],
        *,
        max_bytes: int,
        max_files: int,
        on_progress: Progress | None = None,
    ) -> Archive:
        with as_one("archive"):
            return await archive.open_archive(self, paths, max_bytes, max_files, on_progress)

    async def write_batch(self, items: Sequence[BatchItem], *, atomic: bool = False) -> Sequence[BatchOutcome]:
        with as_one("write"):
            return await (batch.write_all(self, items) if atomic else batch.write_each(self, items))
