"""The contract of a backend: what every kind of sandbox can do with its files.

One suite, ``tests/conformance``, holds every implementation to it. The meanings (links, new and replaced files,
versions, temporaries, policy) are those of ``docs/design.md``; in short: a write is atomic (after any failure the
old content is there, whole), durable (a success was flushed to disk) and verified; nothing is followed out of the
root; a sha256 prefix of at least 12 hex digits as ``if_match`` makes a change compare-and-set.

Every method raises DevboxError and nothing else. A cancelled call leaves nothing half done behind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence

from devbox_mcp.errors import Unsupported
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
from devbox_mcp.paths import SandboxPath

Progress = Callable[[int, int | None], None]


class Backend(ABC):
    """A sandbox's files. The abstract methods are the small contract; the others belong to a capability."""

    capabilities: frozenset[Capability] = frozenset()

    async def describe(self) -> Description:
        """Say what this is. A backend that has more to tell than its name overrides it."""
        return Description(type(self).__name__)

    # -- the small contract

    @abstractmethod
    async def root(self) -> str:
        """Return the root's absolute path as programs inside the sandbox see it."""

    @abstractmethod
    async def relative(self, absolute: str) -> SandboxPath | None:
        """Return the path beneath the root for an absolute one, also by an alias of the root; None if outside."""

    @abstractmethod
    async def stat(self, path: SandboxPath, *, follow: bool = True, sha256: bool = False) -> FileInfo:
        """Describe an entry; ``info.path`` is ``path``, ``target`` set where the entry itself is a link.
        With ``follow`` the rest is of what the link leads to. ``sha256`` asks for a regular file's hash, computed
        whatever the size. Raises NotFound, EscapesRoot, …"""

    @abstractmethod
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
        """List a directory, ``depth`` levels deep, parents before their entries, in the order of the names' bytes.
        ``glob`` keeps entries whose path below ``path`` matches. Without ``details`` only ``path``, ``type`` and
        ``target`` are filled in. Raises NotFound, NotDirectory."""

    @abstractmethod
    async def names(
        self,
        path: SandboxPath,
        *,
        depth: int = 1,
        glob: str | None = None,
        limit: int = 1000,
        after: str | None = None,
    ) -> Names:
        """List the same entries as ``list``, by name only. ``after`` is below ``path``, as in the answer."""

    @abstractmethod
    async def read(self, path: SandboxPath, *, offset: int = 0, length: int | None = None) -> Content:
        """Open a regular file and stream a range of it, all from one version. A range beyond the end is empty.
        Raises NotFound, IsDirectory, Unsupported for a special file; while streaming Conflict if the file was
        changed in place meanwhile."""

    @abstractmethod
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
        """Write a file, making its missing parents. ``create`` raises Exists if something is there; ``append``
        adds at the end. ``in_place`` keeps the inode (and so hard links) at the price of atomicity.
        Raises Conflict when ``if_match`` does not match what is there, NoSpace, ReadOnly, …"""

    @abstractmethod
    async def mkdir(self, path: SandboxPath) -> bool:
        """Make a directory and its missing parents; return False if it was there. Raises Exists for a file there."""

    @abstractmethod
    async def delete(self, path: SandboxPath, *, recursive: bool = False, if_match: str | None = None) -> int:
        """Delete an entry (a link itself, never its target) and return how many entries went.
        Raises NotEmpty for a directory with entries unless ``recursive``, InvalidArgument for the root."""

    @abstractmethod
    async def move(
        self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False, if_match: str | None = None
    ) -> FileInfo:
        """Rename an entry (a link itself), making the destination's missing parents. ``overwrite`` may replace a
        file or an empty directory. Raises Exists, NotEmpty, InvalidArgument for a move into itself."""

    @abstractmethod
    async def copy(self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False) -> FileInfo:
        """Copy a file, or a directory with everything in it (links as links), all or nothing."""

    @abstractmethod
    async def chmod(self, path: SandboxPath, mode: int, *, recursive: bool = False) -> int:
        """Set permission bits (setuid and setgid refused) and return how many entries changed. Links are followed
        for ``path`` itself, never within a recursion."""

    @abstractmethod
    async def aclose(self) -> None:
        """Release everything; later calls raise Unavailable."""

    # -- Capability.LINES

    async def read_lines(self, path: SandboxPath, *, first: int, count: int | None, max_bytes: int) -> Lines:
        """Return whole lines from number ``first`` (from 1; negative counts from the end), at most ``count`` and
        ``max_bytes`` of them."""
        raise self._lacks("read_lines", path)

    # -- Capability.SEARCH

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
        """Find entries whose path below ``path`` matches a glob. Without ``ignored``, what ``.gitignore`` files
        exclude, and ``.git``, is left out. Ends after ``seconds`` with what it has."""
        raise self._lacks("find_files", path)

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
        """Find the lines of text files that match (``re`` syntax, line by line). Binary files are skipped. Ends
        after ``seconds`` whatever the pattern. Raises InvalidArgument for a bad pattern."""
        raise self._lacks("search_text", path)

    # -- Capability.WATCH

    async def watch(
        self,
        path: SandboxPath,
        *,
        cursor: str | None = None,
        timeout: float = 4.0,
        recursive: bool = True,
        limit: int = 1000,
    ) -> Events:
        """Return the changes since ``cursor``, or wait up to ``timeout`` seconds for the first; without a cursor
        start now. An unknown cursor or an overflow answers ``resync``."""
        raise self._lacks("watch", path)

    # -- Capability.ARCHIVE

    async def archive(
        self,
        paths: Sequence[SandboxPath],
        *,
        max_bytes: int,
        max_files: int,
        on_progress: Progress | None = None,
    ) -> Archive:
        """Stream a zip of files and directories: links as links, modes and times kept, names from the root.
        Raises TooLarge before or while streaming, NotFound, …"""
        raise self._lacks("download_zip", paths[0])

    # -- Capability.BATCH

    async def write_batch(self, items: Sequence[BatchItem], *, atomic: bool = False) -> Sequence[BatchOutcome]:
        """Write many files, flushed together; an outcome for each, in order. With ``atomic`` all or none."""
        raise self._lacks("upload_batch", items[0].path)

    # -- Capability.UPLOAD: a file that arrives in parts, over as many connections and servers as it takes. What has
    # arrived lies hidden beside the file; nothing else is remembered, and it is swept when nobody has added to it for
    # a day. ``token`` is 16 random hex digits that whoever begins makes up: it is what protects an upload.

    async def upload_begin(
        self, path: SandboxPath, token: str, *, mode: WriteMode = "overwrite", if_match: str | None = None
    ) -> None:
        """Begin an upload to ``path``, making its missing parents; begun already, it stays as it is. What ``write``
        would refuse and can be refused now is refused now."""
        raise self._lacks("upload", path)

    async def upload_size(self, path: SandboxPath, token: str) -> int:
        """Return how many bytes have arrived. Raises NotFound where there is no such upload (any more)."""
        raise self._lacks("upload", path)

    async def upload_add(
        self,
        path: SandboxPath,
        token: str,
        offset: int,
        data: bytes | AsyncIterator[bytes],
        *,
        whole: bool = False,
    ) -> int:
        """Add bytes behind the ``offset`` that have arrived, and return how many have then. Of a stream that breaks,
        what had come stays; with ``whole`` all of it is added or none. Raises NotFound, Conflict whose data has the
        ``size`` where it stands elsewhere, Busy while somebody else adds to it."""
        raise self._lacks("upload", path)

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
        """Let the ``size`` bytes that have arrived become the file; a write like any other. Without ``sha256`` what
        lies there must be what was seen to arrive. Raises what ``write`` and ``upload_add`` do; the upload is over
        then, except after Busy, NoSpace, Timeout and a Conflict about its size, when it may be finished later."""
        raise self._lacks("upload", path)

    async def upload_abandon(self, path: SandboxPath, token: str) -> None:
        """Remove what has arrived, if there is anything."""
        raise self._lacks("upload", path)

    def _lacks(self, op: str, path: SandboxPath) -> Unsupported:
        return Unsupported(op, path.text, f"a {type(self).__name__} cannot do this")
