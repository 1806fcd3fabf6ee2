"""Removing a tree by directory handles: never through a link, to any depth, with few open files."""

import errno
import os
import stat
from typing import Dict, List

from . import names
from .errors import GuestError, from_os_error
from .job import Job
from .places import DIRECTORY

_MOST_LEVELS = 100  # open directories; what lies deeper is first moved up
_PATIENCE = 3  # times that a directory may turn out to have gained entries while it was emptied


class _Level:
    """An open directory that is being emptied."""

    def __init__(self, fd: int, name: str, path: str, counted: bool) -> None:
        self.fd = fd
        self.name = name
        self.path = path
        self.counted = counted
        self.pending: List[os.DirEntry[str]] = []
        self.looks = 0

    def look(self) -> None:
        self.looks += 1
        with os.scandir(self.fd) as entries:
            self.pending = list(entries)


class Removal:
    """The removal of one entry with everything in it. ``count`` is how many entries went, without the guest's own.

    When it raises GuestError (which names the entry by its path from the root), the rest is still there.
    """

    def __init__(self, job: Job) -> None:
        self.count = 0
        self._job = job
        self._stack: List[_Level] = []
        self._moved: Dict[str, str] = {}  # the path of what was moved up, by its new name
        self._device = 0

    def remove(self, fd: int, name: str, path: str) -> None:
        """Remove the entry ``name`` of the open directory ``fd``; ``path`` is what it is called in errors."""
        try:
            st = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(st.st_mode):
                self._device = st.st_dev
                self._enter(fd, name, path)
                while self._stack:
                    self._step(fd)
            else:
                os.unlink(name, dir_fd=fd)
            self.count += 1
        except OSError as error:
            raise from_os_error(error, self._stack[-1].path if self._stack else path) from error
        finally:
            while self._stack:
                os.close(self._stack.pop().fd)

    def _step(self, top: int) -> None:
        """Deal with one entry of the innermost directory, or with that directory once it is empty."""
        level = self._stack[-1]
        if not level.pending:
            self._leave(level, self._stack[-2].fd if len(self._stack) > 1 else top)
            return
        entry = level.pending.pop()
        path = self._moved.get(entry.name) or names.join(level.path, entry.name)
        self._job.check(path)
        self._job.advance(1)
        try:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=level.fd)
                self.count += level.counted and not names.is_own(entry.name)
            elif len(self._stack) < _MOST_LEVELS:
                self._enter(level.fd, entry.name, path)
            else:
                self._move_up(level.fd, entry.name, path)
        except FileNotFoundError:
            pass  # somebody else removed it
        except OSError as error:
            raise from_os_error(error, path) from error

    def _enter(self, fd: int, name: str, path: str) -> None:
        below = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | DIRECTORY, dir_fd=fd)
        own = names.is_own(name) and name not in self._moved and bool(self._stack)
        counted = not own and (not self._stack or self._stack[-1].counted)
        self._stack.append(_Level(below, name, path, counted))
        if os.fstat(below).st_dev != self._device:
            raise GuestError("busy", path, "another file system is mounted here", "unmount it first")
        self._stack[-1].look()

    def _leave(self, level: _Level, above: int) -> None:
        try:
            os.rmdir(level.name, dir_fd=above)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or level.looks > _PATIENCE:
                raise
            level.look()
            return
        self._stack.pop()
        os.close(level.fd)
        if self._stack:  # the outermost is counted by ``remove``
            self.count += level.counted

    def _move_up(self, fd: int, name: str, path: str) -> None:
        """Move a directory that lies too deep into the outermost one, where its turn comes again."""
        outermost = self._stack[0]
        new = names.own_name("trash")
        os.rename(name, new, src_dir_fd=fd, dst_dir_fd=outermost.fd)
        outermost.looks = 0
        self._moved[new] = path
