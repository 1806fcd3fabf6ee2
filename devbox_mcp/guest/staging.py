"""A copy of an entry in the making, under a hidden name beside its destination."""

import os
from contextlib import suppress
from types import TracebackType
from typing import List, Optional, Type, final

from . import attributes, names
from .beneath import Root, adopt
from .contents import copy_file
from .durable import flush, start_writing
from .errors import GuestError, os_errors
from .job import Job
from .locks import Parent, try_lock
from .places import DIRECTORY, Place, kind_of
from .removal import Removal
from .renaming import rename_new
from .walk import Entry, require_shallow, walk

_MOST_UNFLUSHED = 64  # open files that are flushed together
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_NOFOLLOW | DIRECTORY


@final
class Staged:
    """A finished copy of an entry (of a link the link itself) under a hidden name in ``parent``, flushed, and gone
    on leaving the context unless published. With ``keep`` it has the owners, times and attributes of the original
    too, not only the modes. Raises unsupported for a special file."""

    def __init__(self, root: Root, place: Place, parent: Parent, path: str, job: Job, keep: bool = False) -> None:
        self._parent = parent
        self._path = path
        self._job = job
        self._keep = keep
        self._name = names.own_name("part")
        self._published = False
        self._directories: List[_Directory] = []  # from the outermost to the one that is being filled
        self._unflushed: List[int] = []
        self._lock = -1
        try:
            self._fill(root, place)
        except BaseException:
            self.discard()
            raise

    def _fill(self, root: Root, place: Place) -> None:
        start = Entry(place.fd, place.name, place.path, (), kind_of(place.require().st_mode))
        self._add(start, self._parent.fd, self._name)
        if self._directories:
            unreadable: List[str] = []
            for entry in walk(root, place, self._job, unreadable=unreadable):
                self._finish_directories(len(entry.parts))
                self._add(entry, self._directories[-1].fd, entry.name)
            require_shallow(unreadable)
        self._finish_directories(0)
        self._flush()

    def _add(self, entry: Entry, fd: int, name: str) -> None:
        """Copy one entry to ``name`` in the open directory ``fd``, a directory without what is in it."""
        with os_errors(entry.path):
            if entry.kind == "directory":
                self._add_directory(entry, fd, name)
            elif entry.kind == "file":
                self._add_file(entry, fd, name)
            elif entry.kind == "symlink":
                os.symlink(entry.readlink(), name, dir_fd=fd)
                self._own_link(entry, fd, name)
            else:
                raise GuestError("unsupported", entry.path, "this is a %s, which cannot be copied" % entry.kind)

    def _own_link(self, entry: Entry, fd: int, name: str) -> None:
        if not self._keep:
            adopt(fd, name)
            return
        st = entry.lstat()
        with suppress(PermissionError):
            os.chown(name, st.st_uid, st.st_gid, dir_fd=fd, follow_symlinks=False)

    def _add_directory(self, entry: Entry, fd: int, name: str) -> None:
        st = entry.lstat()
        os.mkdir(name, 0o700, dir_fd=fd)
        directory = _Directory(os.open(name, _OPEN_DIRECTORY, dir_fd=fd), st)
        self._directories.append(directory)
        if self._lock < 0:
            self._lock = os.dup(directory.fd)
            try_lock(self._lock)
        if not self._keep:
            adopt(fd, name)
            return
        original = os.open(entry.name, _OPEN_DIRECTORY, dir_fd=entry.fd)
        try:
            attributes.keep(directory.fd, original)
            os.fchmod(directory.fd, directory.st.st_mode & 0o777 | 0o700)  # to be filled, whatever its own mode
        finally:
            os.close(original)

    def _add_file(self, entry: Entry, fd: int, name: str) -> None:
        original = entry.open_file()
        try:
            copied = os.open(name, _NEW_FILE, 0o600, dir_fd=fd)
            self._unflushed.append(copied)
            copy_file(original, copied, entry.path, self._job)
            st = os.fstat(original)
            if self._keep:
                attributes.keep(copied, original)
                os.utime(copied, ns=(st.st_atime_ns, st.st_mtime_ns))
            else:
                adopt(fd, name)
                os.fchmod(copied, st.st_mode & 0o777)
        finally:
            os.close(original)
        start_writing(copied)
        if len(self._unflushed) >= _MOST_UNFLUSHED:
            self._flush()

    def _flush(self) -> None:
        with os_errors(self._path):
            while self._unflushed:
                flush(self._unflushed[-1])
                os.close(self._unflushed.pop())

    def _finish_directories(self, level: int) -> None:
        """Finish the directories below a level, now that they are full."""
        while len(self._directories) > level:
            directory = self._directories[-1]
            with os_errors(self._path):
                os.fchmod(directory.fd, directory.st.st_mode & 0o777)
                if self._keep:
                    os.utime(directory.fd, ns=(directory.st.st_atime_ns, directory.st.st_mtime_ns))
                flush(directory.fd)
            os.close(self._directories.pop().fd)

    def publish(self, name: str, new: bool) -> None:
        """Rename it to ``name``; with ``new`` the name must be free. Raises exists, not_empty, …"""
        with os_errors(self._path):
            if new:
                rename_new(self._parent.fd, self._name, self._parent.fd, name)
            else:
                os.rename(self._name, name, src_dir_fd=self._parent.fd, dst_dir_fd=self._parent.fd)
        self._published = True

    def discard(self) -> None:
        """Close everything, and remove the copy unless it was published."""
        for fd in [*self._unflushed, *(directory.fd for directory in self._directories)]:
            os.close(fd)
        self._unflushed.clear()
        self._directories.clear()
        if not self._published:
            self._published = True
            with suppress(GuestError):  # a sweep will come
                Removal(Job()).remove(self._parent.fd, self._name, self._path)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> "Staged":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.discard()


class _Directory:
    """A directory of the copy that is being filled, and the stat of the original."""

    __slots__ = ("fd", "st")

    def __init__(self, fd: int, st: os.stat_result) -> None:
        self.fd = fd
        self.st = st
