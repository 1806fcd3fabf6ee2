"""What the SDK answers: the models of the project with paths as text.

A path is what ``os.listdir`` would make of it: relative to the root with slashes, bytes that are not UTF-8 as
surrogate escapes. Every path that is answered can be passed in again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from devbox_mcp import models
from devbox_mcp import revising as edited
from devbox_mcp.errors import DevboxError, IoError
from devbox_mcp.models import FileType, GapReason

EventType = Literal["created", "modified", "deleted", "moved", "resync"]


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One entry: ``size`` in bytes, ``mode`` the permission bits, ``modified`` in seconds since 1970, ``links`` the
    number of hard links, ``target`` where a symbolic link leads, ``sha256`` in hex where it is known or was asked for.
    ``revision`` changes with the file's times and identity: good for caches, never for if_match."""

    path: str
    type: FileType
    size: int = 0
    mode: int = 0
    modified: float = 0.0
    links: int = 1
    target: str | None = None
    sha256: str | None = None
    revision: str = ""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def is_dir(self) -> bool:
        """Whether this is a directory."""
        return self.type == "directory"


@dataclass(frozen=True, slots=True)
class Written:
    """A file after a write. ``created`` tells whether it is new; ``previous`` the sha256 that it had, where that was
    computed; ``unlinked`` how many other hard links keep the old content."""

    path: str
    size: int
    sha256: str
    created: bool
    previous: str | None = None
    unlinked: int = 0


@dataclass(frozen=True, slots=True)
class Edited:
    """What an edit did, or would do: ``diff`` in unified form, ``replacements`` how many places, ``previous`` the
    sha256 of what was edited, ``written`` None for a dry run."""

    path: str
    diff: str
    replacements: int
    previous: str
    written: Written | None


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines of a text file, endings included. ``first`` is the number of the first (from 1), ``count`` how many
    there are, ``total`` the file's lines (None while unknown), ``more`` whether others follow."""

    path: str
    text: str
    first: int
    count: int
    total: int | None
    more: bool


@dataclass(frozen=True, slots=True)
class Found:
    """Entries that match a glob; iterate over it. ``cursor`` goes on where ``limit`` or the time allowed
    (``timed_out``) ended it, None at the end. ``unreadable`` counts directories that were passed over."""

    entries: list[FileInfo]
    cursor: str | None = None
    timed_out: bool = False
    unreadable: int = 0

    def __iter__(self) -> Iterator[FileInfo]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


@dataclass(frozen=True, slots=True)
class Match:
    """One matching line: its number from 1, its text, and the lines before and after it as asked for."""

    path: str
    line: int
    text: str
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Gap:
    """What was left out of a search, at a line of a file: of a ``long`` one all but its first MiB; one that is too
    ``slow`` to match, and all behind it in its file."""

    path: str
    line: int
    reason: GapReason


@dataclass(frozen=True, slots=True)
class Matches:
    """Matches in the order of paths and lines; iterate over it. ``files`` counts those that were searched, ``gaps``
    are what was left out of them; the rest as in Found."""

    matches: list[Match]
    files: int = 0
    cursor: str | None = None
    timed_out: bool = False
    skipped_binary: int = 0
    unreadable: int = 0
    gaps: list[Gap] = field(default_factory=list)

    def __iter__(self) -> Iterator[Match]:
        return iter(self.matches)

    def __len__(self) -> int:
        return len(self.matches)


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of one file of ``upload_files``: ``written``, or the ``error``."""

    path: str
    written: Written | None
    error: DevboxError | None = None


@dataclass(frozen=True, slots=True)
class Archived:
    """A zip that was saved: ``files`` in it, ``size`` of it in bytes, ``skipped`` what no zip can hold."""

    files: int
    size: int
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Transferred:
    """A big file at its new place: ``size`` in bytes, ``sha256`` of what both ends have."""

    path: str
    size: int
    sha256: str
    created: bool


@dataclass(frozen=True, slots=True)
class Event:
    """One change. ``path`` is what is there now (of ``deleted``, what was), ``source`` the old name of what was moved,
    ``directory`` whether it is one. ``resync`` says that changes were lost: list the watched directory again."""

    type: EventType
    path: str
    directory: bool = False
    source: str | None = None


def info(found: models.FileInfo) -> FileInfo:
    """Return an entry as the SDK answers it."""
    return FileInfo(
        found.path.text, found.type, found.size, found.mode, found.modified, found.links, found.target, found.sha256,
        found.revision,
    )  # fmt: skip


def written(done: models.Written) -> Written:
    """Return a write's outcome as the SDK answers it."""
    entry = done.info
    return Written(entry.path.text, entry.size, entry.sha256 or "", done.created, done.previous, done.unlinked)


def edit(done: edited.Edited) -> Edited:
    """Return an edit's outcome as the SDK answers it."""
    became = None if done.written is None else written(done.written)
    return Edited(done.path.text, done.diff, done.replacements, done.previous, became)


def match(found: models.Match) -> Match:
    """Return a match as the SDK answers it."""
    return Match(found.path.text, found.line, found.text, found.before, found.after)


def gap(found: models.Gap) -> Gap:
    """Return a gap as the SDK answers it."""
    return Gap(found.path.text, found.line, found.reason)


def uploaded(outcome: models.BatchOutcome) -> Uploaded:
    """Return what became of a file of a batch as the SDK answers it."""
    path, error = outcome.path.text, outcome.error
    if outcome.written is not None:
        return Uploaded(path, written(outcome.written))
    return Uploaded(path, None, error if isinstance(error, DevboxError) else IoError("write", path, str(error)))


def event(seen: models.Event) -> Event:
    """Return a change as the SDK answers it."""
    return Event(seen.type, seen.path.text, seen.directory, None if seen.source is None else seen.source.text)
