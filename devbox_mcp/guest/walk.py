"""One way to go through a tree: in the order of the names' bytes, parents first, never through a link."""

import os
import stat
from typing import Callable, Generator, List, Optional, Tuple

from . import names
from .beneath import Root
from .errors import GuestError, from_os_error
from .job import Job
from .places import DIRECTORY, Place, kind_of

MOST_LEVELS = 256  # one open directory each


class Entry:
    """Something found: ``name`` in the open directory ``fd`` (valid only until the walk goes on), ``path`` from
    the root, ``parts`` below the start of the walk, ``kind`` as ``kind_of`` says."""

    __slots__ = ("fd", "kind", "name", "parts", "path")

    def __init__(self, fd: int, name: str, path: str, parts: Tuple[str, ...], kind: str) -> None:
        self.fd = fd
        self.name = name
        self.path = path
        self.parts = parts
        self.kind = kind

    def lstat(self) -> os.stat_result:
        """Return the entry's own stat. Raises OSError when it is gone."""
        return os.stat(self.name, dir_fd=self.fd, follow_symlinks=False)

    def readlink(self) -> str:
        """Return a symbolic link's target as it is written."""
        return os.readlink(self.name, dir_fd=self.fd)

    def open_file(self) -> int:
        """Open the regular file for reading, as Place.open_file does."""
        place = Place(self.fd, self.name, self.path, owned=False)
        place.look()
        return place.open_file()


def _enter_all(_entry: Entry) -> bool:
    return True


#: An open directory, its entries still to come (the first at the end), its path from the root, its parts.
_Level = Tuple[int, List[Tuple[str, str]], str, Tuple[str, ...]]


def walk(
    root: Root,
    place: Place,
    job: Job,
    depth: Optional[int] = None,
    after: Optional[Tuple[str, ...]] = None,
    enter: Callable[[Entry], bool] = _enter_all,
    unreadable: Optional[List[str]] = None,
    denied: Optional[List[str]] = None,
) -> "Generator[Entry, None, None]":
    """Yield what lies beneath the directory ``place``, at most ``depth`` levels down, without what the policy
    denies and without the guest's own files.

    ``after`` (parts below the start) resumes behind an entry, which itself and everything before it is left out.
    ``enter`` says whether to go into a directory just yielded. A directory that cannot be read or vanishes
    meanwhile is passed over, its path added to ``unreadable``; the start itself raises. What the policy denies is
    added to ``denied``.
    """
    deepest = MOST_LEVELS + 1 if depth is None else depth
    passed_over: List[str] = [] if unreadable is None else unreadable
    stack: List[_Level] = []
    start = place.open_directory()
    try:
        stack.append((start, _entries(start), place.path, ()))
    except OSError as error:
        os.close(start)
        raise from_os_error(error, place.path) from error
    try:
        while stack:
            fd, pending, path, above = stack[-1]
            if not pending:
                stack.pop()
                os.close(fd)
                continue
            name, kind = pending.pop()
            job.check(path)
            entry = Entry(fd, name, names.join(path, name), (*above, name), kind)
            seen = after is not None and _key(entry.parts) <= _key(after)
            if _is_denied(root, entry.path, denied) or (seen and not _leads_to(entry.parts, after)):
                continue
            if not seen:
                yield entry
            if kind == "directory" and len(stack) < deepest and enter(entry):
                level = _open_level(entry) if len(stack) < MOST_LEVELS else None
                if level is None:
                    passed_over.append(entry.path)
                else:
                    stack.append(level)
    finally:
        for fd, _, _, _ in stack:
            os.close(fd)


def _open_level(entry: Entry) -> Optional[_Level]:
    """Open a directory that was found, None if it cannot be read or is gone."""
    try:
        fd = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | DIRECTORY, dir_fd=entry.fd)
    except OSError:
        return None
    try:
        return fd, _entries(fd), entry.path, entry.parts
    except OSError:
        os.close(fd)
        return None


def _is_denied(root: Root, path: str, denied: Optional[List[str]]) -> bool:
    if not root.policy.denies(path):
        return False
    if denied is not None:
        denied.append(path)
    return True


def _leads_to(parts: Tuple[str, ...], after: Optional[Tuple[str, ...]]) -> bool:
    """Whether an entry is the one to resume behind, or a directory on the way to it."""
    return after is not None and after[: len(parts)] == parts


def _key(parts: Tuple[str, ...]) -> List[bytes]:
    return [os.fsencode(part) for part in parts]


def _entries(fd: int) -> List[Tuple[str, str]]:
    """Return (name, kind) of a directory's entries, the first in order at the end of the list."""
    found = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.name.startswith(names.OWN_PREFIX):
                continue
            if entry.is_symlink():
                kind = "symlink"
            elif entry.is_dir(follow_symlinks=False):
                kind = "directory"
            elif entry.is_file(follow_symlinks=False):
                kind = "file"
            else:
                kind = kind_of(_mode(fd, entry.name))
            found.append((entry.name, kind))
    found.sort(key=_bytes_of_name, reverse=True)
    return found


def _bytes_of_name(entry: Tuple[str, str]) -> bytes:
    return os.fsencode(entry[0])


def _mode(fd: int, name: str) -> int:
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
    except OSError:
        return stat.S_IFREG


def require_shallow(unreadable: List[str]) -> None:
    """Raise for a tree that could not be gone through whole, where leaving a part out would lose it."""
    if unreadable:
        raise GuestError(
            "permission_denied",
            unreadable[0],
            "this directory cannot be read (or lies deeper than %d levels)" % MOST_LEVELS,
        )
