"""Looking at files and directories.

Made by tools/sync_face.py from client/reading.py: change it there."""

from __future__ import annotations

from collections.abc import Iterator

from devbox_mcp.client.blocking.portal import Portal
from devbox_mcp.client.connection import Connection, PathText
from devbox_mcp.client.shapes import FileInfo, Found, Lines, Matches
from devbox_mcp.client.transferring import AsyncTransferring
from devbox_mcp.models import SortOrder


class Reading:
    """What only looks. Paths are relative to the root, or absolute and beneath it."""

    def __init__(self, files: AsyncTransferring, connection: Connection, portal: Portal) -> None:
        """``files`` is what does it all, in the event loop of ``portal``."""
        self._files = files
        self._connection = connection
        self._portal = portal

    def read_file(self, path: PathText, *, encoding: str = "utf-8") -> str:
        """Return a file as text, line endings and all.

        Raises NotFound, IsDirectory, Unsupported for what is no text of this encoding (``read_bytes`` reads it).
        """
        return self._portal.run(self._files.read_file(path, encoding=encoding))

    def read_bytes(self, path: PathText, *, offset: int = 0, length: int | None = None) -> bytes:
        """Return a file's bytes, or ``length`` of them from ``offset`` on; less where the file ends. All of them are
        of one version.

        Raises NotFound, IsDirectory, Conflict if the file was changed in place meanwhile.
        """
        return self._portal.run(self._files.read_bytes(path, offset=offset, length=length))

    def read_lines(self, path: PathText, *, first: int = 1, count: int | None = None) -> Lines:
        """Return whole lines from number ``first`` on (from 1; negative counts from the end), at most ``count`` and
        16 MiB of them. The text is UTF-8, what is not is replaced by U+FFFD.

        Raises NotFound, IsDirectory, Unsupported for a binary file.
        """
        return self._portal.run(self._files.read_lines(path, first=first, count=count))

    def stat(self, path: PathText = ".", *, sha256: bool = False) -> FileInfo:
        """Describe an entry: of a link ``target`` is told, and the rest is of what it leads to. With ``sha256`` the
        hash of a file is computed whatever its size.

        Raises NotFound.
        """
        return self._portal.run(self._files.stat(path, sha256=sha256))

    def exists(self, path: PathText) -> bool:
        """Return whether there is something at a path. Raises EscapesRoot for one that leads out of the root."""
        return self._portal.run(self._files.exists(path))

    def list_dir(self, path: PathText = ".", *, depth: int = 1, glob: str | None = None) -> list[FileInfo]:
        """List a directory, hidden entries too, ``depth`` levels deep (at most 64), in the order of the names' bytes.
        ``glob`` keeps entries whose path below ``path`` matches. For very large ones there is ``iter_dir``.

        Raises NotFound, NotDirectory.
        """
        return self._portal.run(self._files.list_dir(path, depth=depth, glob=glob))

    def iter_dir(self, path: PathText = ".", *, depth: int = 1, glob: str | None = None) -> Iterator[FileInfo]:
        """Iterate over the entries of a directory as ``list_dir`` lists them, without holding them all.

        Raises NotFound, NotDirectory.
        """
        return self._portal.iterate(self._files.iter_dir(path, depth=depth, glob=glob))

    def walk(self, path: PathText = ".") -> Iterator[tuple[str, list[str], list[str]]]:
        """Iterate over a tree as ``os.walk`` does: for each directory its path, the names of the directories in it,
        and of everything else. Names taken out of the first list are not descended into; links never are.

        Raises NotFound, NotDirectory for ``path`` itself; directories that vanish meanwhile are passed over.
        """
        return self._portal.iterate(self._files.walk(path), most=1)

    def find_files(
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
        return self._portal.run(
            self._files.find_files(
                pattern, path, sort=sort, include_ignored=include_ignored, limit=limit, cursor=cursor
            )
        )

    def search_text(
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
        return self._portal.run(
            self._files.search_text(
                pattern,
                path,
                glob=glob,
                regex=regex,
                ignore_case=ignore_case,
                context=context,
                include_ignored=include_ignored,
                limit=limit,
                cursor=cursor,
            )
        )
