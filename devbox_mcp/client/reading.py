"""Looking at files and directories."""

from __future__ import annotations

from collections.abc import AsyncIterator

from devbox_mcp.client import shapes
from devbox_mcp.client.connection import Connection, PathText, spelled
from devbox_mcp.client.shapes import FileInfo, Found, Lines, Matches
from devbox_mcp.errors import InvalidArgument, NotDirectory, NotFound, Unsupported
from devbox_mcp.models import SortOrder

#: Entries of one page, the most that a gateway gives.
_PAGE = 1000


class AsyncReading:
    """What only looks. Paths are relative to the root, or absolute and beneath it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def read_file(self, path: PathText, *, encoding: str = "utf-8") -> str:
        """Return a file as text, line endings and all.

        Raises NotFound, IsDirectory, Unsupported for what is no text of this encoding (``read_bytes`` reads it).
        """
        data = await self.read_bytes(path)
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            raise Unsupported(
                "read", spelled(path), f"this is not {encoding} text: {error.reason}", hint="use read_bytes"
            ) from None
        except LookupError:
            raise InvalidArgument("read", spelled(path), f"there is no encoding {encoding!r}") from None

    async def read_bytes(self, path: PathText, *, offset: int = 0, length: int | None = None) -> bytes:
        """Return a file's bytes, or ``length`` of them from ``offset`` on; less where the file ends. All of them are
        of one version.

        Raises NotFound, IsDirectory, Conflict if the file was changed in place meanwhile.
        """
        sandbox, parsed = await self._connection.at(path, "read")
        return await (await sandbox.read_bytes(parsed, offset=offset, length=length)).read()

    async def read_lines(self, path: PathText, *, first: int = 1, count: int | None = None) -> Lines:
        """Return whole lines from number ``first`` on (from 1; negative counts from the end), at most ``count`` and
        16 MiB of them. The text is UTF-8, what is not is replaced by U+FFFD.

        Raises NotFound, IsDirectory, Unsupported for a binary file.
        """
        sandbox, parsed = await self._connection.at(path, "read")
        lines = await sandbox.read_lines(parsed, first=first, count=count)
        if lines.binary:
            raise Unsupported("read", parsed.text, "this is a binary file", hint="use read_bytes")
        text = lines.data.decode("utf-8", "replace")
        return Lines(parsed.text, text, lines.first, lines.count, lines.total, lines.more)

    async def stat(self, path: PathText = ".", *, sha256: bool = False) -> FileInfo:
        """Describe an entry: of a link ``target`` is told, and the rest is of what it leads to. With ``sha256`` the
        hash of a file is computed whatever its size.

        Raises NotFound.
        """
        sandbox, parsed = await self._connection.at(path, "stat")
        return shapes.info(await sandbox.stat(parsed, sha256=sha256))

    async def exists(self, path: PathText) -> bool:
        """Return whether there is something at a path. Raises EscapesRoot for one that leads out of the root."""
        try:
            await self.stat(path)
        except (NotFound, NotDirectory):
            return False
        return True

    async def list_dir(self, path: PathText = ".", *, depth: int = 1, glob: str | None = None) -> list[FileInfo]:
        """List a directory, hidden entries too, ``depth`` levels deep (at most 64), in the order of the names' bytes.
        ``glob`` keeps entries whose path below ``path`` matches. For very large ones there is ``iter_dir``.

        Raises NotFound, NotDirectory.
        """
        return [entry async for entry in self.iter_dir(path, depth=depth, glob=glob)]

    async def iter_dir(
        self, path: PathText = ".", *, depth: int = 1, glob: str | None = None
    ) -> AsyncIterator[FileInfo]:
        """Iterate over the entries of a directory as ``list_dir`` lists them, without holding them all.

        Raises NotFound, NotDirectory.
        """
        sandbox, parsed = await self._connection.at(path, "list")
        after = None
        while True:
            page = await sandbox.list(parsed, depth=depth, glob=glob, limit=_PAGE, after=after, details=True)
            for entry in page.entries:
                yield shapes.info(entry)
            after = page.after
            if after is None:
                return

    async def walk(self, path: PathText = ".") -> AsyncIterator[tuple[str, list[str], list[str]]]:
        """Iterate over a tree as ``os.walk`` does: for each directory its path, the names of the directories in it,
        and of everything else. Names taken out of the first list are not descended into; links never are.

        Raises NotFound, NotDirectory for ``path`` itself; directories that vanish meanwhile are passed over.
        """
        _, parsed = await self._connection.at(path, "list")
        waiting = [parsed]
        while waiting:
            directory = waiting.pop()
            try:
                entries = await self.list_dir(directory.text)
            except (NotFound, NotDirectory):
                if directory == parsed:
                    raise
                continue
            below = [entry.name for entry in entries if entry.type == "directory"]
            yield directory.text, below, [entry.name for entry in entries if entry.type != "directory"]
            waiting += [directory.child(name) for name in reversed(below)]

    async def find_files(
        self,
        pattern: str,
        path: PathText = ".",
        *,
        sort: SortOrder = "name",
        include_ignored: bool = False,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Found:
        """Find entries by glob: ``*.py`` finds names at any depth, ``src/**/*.{js,ts}`` paths below ``path``. Skips
        what ``.gitignore`` files exclude, and ``.git``, unless ``include_ignored``. ``newest`` sorts what was changed
        last first. Without ``limit``, all of them.

        Raises NotFound, InvalidArgument for a bad pattern, Unsupported where the devbox cannot search.
        """
        sandbox, parsed = await self._connection.at(path, "find")
        entries: list[FileInfo] = []
        unreadable = 0
        while True:
            most = _next_page(len(entries), limit)
            page = await sandbox.find(parsed, pattern, sort=sort, ignored=include_ignored, limit=most, after=cursor)
            entries += map(shapes.info, page.entries)
            unreadable += page.unreadable
            cursor = page.after
            if cursor is None or page.timed_out or len(entries) == limit:
                return Found(entries, cursor, page.timed_out, unreadable)

    async def search_text(
        self,
        pattern: str,
        path: PathText = ".",
        *,
        glob: str | None = None,
        regex: bool = True,
        ignore_case: bool = False,
        context: int = 0,
        include_ignored: bool = False,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Matches:
        """Find the lines of text files that match a Python regular expression, or with ``regex=False`` hold an exact
        text. ``context`` is how many lines before and after come along. Skips what ``find_files`` skips, and binary
        files. A page takes at most 20 seconds, whatever the pattern; ``timed_out`` tells that it ended so.

        Raises NotFound, InvalidArgument for a bad pattern, Unsupported where the devbox cannot search.
        """
        sandbox, parsed = await self._connection.at(path, "search")
        matches: list[shapes.Match] = []
        gaps: list[shapes.Gap] = []
        files = binary = unreadable = 0
        while True:
            page = await sandbox.search(
                parsed, pattern, glob=glob, regex=regex, ignore_case=ignore_case, context=context,
                ignored=include_ignored, limit=_next_page(len(matches), limit), after=cursor,
            )  # fmt: skip
            matches += map(shapes.match, page.matches)
            files += page.files
            binary += page.skipped_binary
            unreadable += page.unreadable
            gaps += map(shapes.gap, page.gaps)
            cursor = page.after
            if cursor is None or page.timed_out or len(matches) == limit:
                return Matches(matches, files, cursor, page.timed_out, binary, unreadable, gaps)


def _next_page(have: int, limit: int | None) -> int:
    """Return how many entries to ask for; the limit itself where it makes no sense, for the answer says so."""
    return _PAGE if limit is None else min(limit - have, _PAGE)
