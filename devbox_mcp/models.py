"""What operations take and answer, shared by every floor above the guest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from devbox_mcp.paths import SandboxPath

FileType = Literal["file", "directory", "symlink", "fifo", "socket", "device"]
WriteMode = Literal["overwrite", "create", "append"]
SortOrder = Literal["name", "newest"]
EventType = Literal["created", "modified", "deleted", "moved"]
GapReason = Literal["long", "slow"]


class Capability(Enum):
    """What a backend may do natively beside the small contract; each is proven by the conformance suite."""

    LINES = "lines"
    SEARCH = "search"
    WATCH = "watch"
    ARCHIVE = "archive"
    BATCH = "batch"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True)
class Description:
    """What works on the files, for people: ``kind`` of backend, ``facts`` about it by name (``free`` in bytes), and
    ``lacks``: what it has to do without, by name, and what that means or how to mend it."""

    kind: str
    facts: Mapping[str, str] = field(default_factory=dict)
    lacks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One entry. ``size`` in bytes, ``mode`` the permission bits, ``modified`` seconds since the epoch, ``links``
    the number of hard links, ``target`` a symbolic link's text, ``sha256`` in hex where it is known. ``revision``
    is a token that changes with the file's times and identity: good for caches, never for if_match. What is before
    its first dash tells the identity alone, which stays when the entry is renamed."""

    path: SandboxPath
    type: FileType
    size: int = 0
    mode: int = 0
    modified: float = 0.0
    links: int = 1
    revision: str = ""
    target: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Entries in the order of their names' bytes; ``after`` resumes behind them, None at the end.
    ``unreadable`` names directories that could not be looked into."""

    entries: list[FileInfo]
    after: SandboxPath | None = None
    unreadable: list[SandboxPath] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Names:
    """A listing at its cheapest: paths below the listed directory, directories with a slash at their end, in the
    order of their bytes. ``targets`` holds where links lead, by name. ``after`` (the last name, without its slash)
    resumes behind it, None at the end. ``unreadable`` names directories that could not be looked into."""

    names: list[str]
    targets: dict[str, str] = field(default_factory=dict)
    after: str | None = None
    unreadable: list[SandboxPath] = field(default_factory=list)


@dataclass(slots=True)
class Content:
    """Bytes of one version of a file, to be iterated once: ``offset`` is where they begin. ``info.sha256`` is set
    where it is known. ``aclose`` ends it early."""

    info: FileInfo
    offset: int
    chunks: AsyncIterator[bytes]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.chunks

    async def read(self) -> bytes:
        """Return all of the bytes at once; for what is known to be small."""
        return b"".join([chunk async for chunk in self.chunks])

    async def aclose(self) -> None:
        """Give up the rest."""
        close = getattr(self.chunks, "aclose", None)
        if close is not None:
            await close()


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines of a file, endings included, as bytes; the last one may lack its ending.

    ``first`` is the number of the first line (from 1), ``count`` how many there are; ``total`` the file's lines,
    None while unknown; ``cut`` that the last line shown was cut in its middle because it alone is over the limit;
    ``binary`` that a NUL byte was seen, and then ``data`` is empty."""

    info: FileInfo
    data: bytes
    first: int
    count: int
    total: int | None
    more: bool
    cut: bool = False
    binary: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A file after a write. ``created`` tells whether it is new, ``previous`` the sha256 it had where that was
    computed, ``unlinked`` how many other hard links keep the old content because the replacement broke with them."""

    info: FileInfo
    created: bool
    previous: str | None = None
    unlinked: int = 0


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One file of a batch."""

    path: SandboxPath
    data: bytes
    executable: bool | None = None
    if_match: str | None = None


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What became of one file of a batch: ``written``, or the ``error``."""

    path: SandboxPath
    written: Written | None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Paths that match a glob. ``after`` resumes, None at the end; ``timed_out`` that the deadline ended it."""

    entries: list[FileInfo]
    after: str | None = None
    timed_out: bool = False
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Match:
    """One matching line: its number from 1, its text (shortened around the match where it is long), the lines
    before and after it as asked for."""

    path: SandboxPath
    line: int
    text: str
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Gap:
    """What was left out of a search, at a line of a file: of a ``long`` one all but its first MiB; one that is too
    ``slow`` to match, and all behind it in its file."""

    path: SandboxPath
    line: int
    reason: GapReason

    @property
    def extent(self) -> str:
        """What of the file is left out, in words."""
        if self.reason == "long":
            return f"line {self.line} beyond its first MiB"
        return f"from line {self.line} on, which takes too long"


@dataclass(frozen=True, slots=True)
class Matches:
    """Matches in the order of paths and lines. ``after`` resumes, None at the end, and where the time was over before
    the search got anywhere. ``gaps`` are what it left out, one of a file."""

    matches: list[Match]
    files: int = 0
    after: str | None = None
    timed_out: bool = False
    skipped_binary: int = 0
    unreadable: int = 0
    gaps: list[Gap] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Event:
    """One change beneath a watched directory; ``source`` is the old name of what moved."""

    type: EventType
    path: SandboxPath
    directory: bool = False
    source: SandboxPath | None = None


@dataclass(frozen=True, slots=True)
class Events:
    """Changes since a cursor and the cursor behind them. With ``resync`` some were lost: list again."""

    events: list[Event]
    cursor: str
    resync: bool = False
    more: bool = False


class Archive:
    """A zip that is being made: iterate over its bytes once; then ``files`` and ``skipped`` are final."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.files = 0
        self.bytes = 0
        self.skipped: list[SandboxPath] = []

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks
